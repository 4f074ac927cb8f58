// What reaches the terminal: the Worker's own lines as they are, without the decoration of a log.

const HOME = /\/session\/metadata\/(?!python_modules\/)/g;
const VENDORED = /\/session\/metadata\/(?=python_modules\/)/g;

/** Prints a line of the host's own. */
export function say(line) {
  process.stdout.write(`${line}\n`);
}

/** Paths inside the interpreter become paths of the project, which terminals can open. */
function localize(text) {
  return text.replace(VENDORED, "").replace(HOME, "src/");
}

/** An event of the Worker's log with its time; the hosted platform notes it beside each line. Other lines as they are. */
export function stamped(line, milliseconds) {
  return line.replace(/^\{"event":"[^"]*"/, (event) => `${event},"at":"${new Date(milliseconds).toISOString()}"`);
}

/** One entry of workerd's structured log: a console call of the Worker, or a message of the runtime itself. */
export function printRuntimeOutput({ level, message, timestamp }) {
  const stream = level === "error" || level === "warn" ? process.stderr : process.stdout;
  stream.write(`${localize(stamped(message, timestamp))}\n`);
}
