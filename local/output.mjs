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

// How workerd, told to be verbose, reports what a handler threw: once where it was thrown, with the frames of JavaScript, and
// again at each layer that it passes through. A Worker that cannot be imported is an error of its service.
const THROWN = "uncaught exception; ";
const THROWN_AGAIN = "uncaught exception; exception = ";
const NOT_IMPORTED = /^service core:user:\S+ Uncaught (Error: )?/;
const PYTHON = /^PythonError: /;
const FRAMES = /\n+ +at [^]*$/;

/** The text of an entry as it is to be shown: an exception as its traceback, once; undefined for a repetition. */
function shown(message) {
  if (NOT_IMPORTED.test(message)) return message.replace(NOT_IMPORTED, "").replace(PYTHON, "").replace(FRAMES, "");
  if (!message.startsWith(THROWN)) return message;
  const [, stack] = /stack = ([^]*)$/.exec(message) ?? [];
  if (message.startsWith(THROWN_AGAIN) || stack === undefined || !FRAMES.test(stack)) return undefined;
  return PYTHON.test(stack) ? stack.replace(PYTHON, "").replace(FRAMES, "") : stack;
}

/** One entry of workerd's structured log: a console call of the Worker, or a message of the runtime itself. */
export function printRuntimeOutput({ level, message, timestamp }) {
  const text = shown(message);
  if (text === undefined) return;
  const stream = level === "error" || level === "warn" || text !== message ? process.stderr : process.stdout;
  stream.write(`${localize(stamped(text, timestamp))}\n`);
}
