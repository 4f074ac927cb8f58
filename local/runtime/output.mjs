// Prints the Worker's output without the decoration of a log. On a terminal, each event of the Worker's log is printed
// as one readable line. A pipe or a file gets the JSON that the Worker wrote.

const HOME = /\/session\/metadata\/(?!python_modules\/)/g;
const VENDORED = /\/session\/metadata\/(?=python_modules\/)/g;

/** Prints a line of the host. */
export function say(line) {
  process.stdout.write(`${line}\n`);
}

/** Replaces paths inside the interpreter by paths of the project, which terminals can open. */
function localize(text) {
  return text.replace(VENDORED, "").replace(HOME, "src/");
}

/**
 * An event of the Worker's log with its time, which the hosted platform adds to each line. Other lines stay unchanged.
 */
function stamped(line, milliseconds) {
  return line.replace(/^\{"event":"[^"]*"/, (event) => `${event},"at":"${new Date(milliseconds).toISOString()}"`);
}

const NAME_CHARS = 18; // the width of the column for names of events, enough for most of them
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/g; // characters that would move the cursor or break the line
const escaped = (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

function fact(value) {
  if (typeof value === "string" && /^[^\s"\u0000-\u001f\u007f-\u009f]+$/.test(value)) return value;
  return JSON.stringify(value).replace(CONTROL, escaped);
}

// On a terminal, only lines of the meter show these facts: which request caused an event, and what the request spent.
const NOT_SHOWN = new Set(["request", "subrequests", "database_calls", "statements", "rows_read", "rows_written"]);
const METER = new Set(["metered", "day_use"]);
const isShown = (event, name, value) =>
  METER.has(event) || !(NOT_SHOWN.has(name) || (name === "tenant" && value === "local"));

/** Returns an event as a readable line with local time, name and facts. Other lines stay unchanged. */
function readable(line, milliseconds) {
  if (!line.startsWith('{"event":"')) return line;
  let facts;
  try {
    facts = JSON.parse(line);
  } catch {
    return line;
  }
  const { event, ...rest } = facts;
  const dim = process.env.NO_COLOR ? (text) => text : (text) => `\x1b[2m${text}\x1b[22m`;
  const time = new Date(milliseconds).toTimeString().slice(0, 8);
  const shownFacts = Object.entries(rest)
    .filter(([name, value]) => isShown(event, name, value))
    .map(([name, value]) => `${dim(`${name}=`)}${fact(value)}`);
  return [dim(time), event.padEnd(NAME_CHARS), ...shownFacts].join(" ").trimEnd();
}

/** Returns a line of the log in the form for `stream`. */
export function logged(line, milliseconds, stream = process.stdout) {
  return stream.isTTY ? readable(line, milliseconds) : stamped(line, milliseconds);
}

// A verbose workerd reports the exception of a handler several times: once where it was thrown, with JavaScript frames,
// and again at each layer that it passes. A Worker that cannot be imported is reported as an error of its service.
const THROWN = "uncaught exception; ";
const THROWN_AGAIN = "uncaught exception; exception = ";
const NOT_IMPORTED = /^service core:user:\S+ Uncaught (Error: )?/;
const PYTHON = /^PythonError: /;
const FRAMES = /\n+ +at [^]*$/;
// workerd writes this message if a client closes its stream before the end, as `onceover run FILE | head -1` does.
const CLIENT_LEFT = /^exception = workerd\/api\/streams\/\S+ disconnected: (pump|reader) canceled\n/;

// The Worker does not see why D1 failed: it gets "internal error".
const FULL = /SQLITE_FULL/;
const SAID_OF_FULL = "the disk is full, so the database cannot write. Free space on it (`df -h`); tasks go on by themselves";

/** Returns the text to print of an entry, or undefined for a repetition and for a client that left. */
function shown(message) {
  if (CLIENT_LEFT.test(message)) return undefined;
  if (FULL.test(message)) return SAID_OF_FULL;
  if (NOT_IMPORTED.test(message)) return message.replace(NOT_IMPORTED, "").replace(PYTHON, "").replace(FRAMES, "");
  if (!message.startsWith(THROWN)) return message;
  const [, stack] = /stack = ([^]*)$/.exec(message) ?? [];
  if (message.startsWith(THROWN_AGAIN) || stack === undefined || !FRAMES.test(stack)) return undefined;
  return PYTHON.test(stack) ? stack.replace(PYTHON, "").replace(FRAMES, "") : stack;
}

/** Prints one entry of workerd's structured log: a console call of the Worker, or a message of the runtime itself. */
export function printRuntimeOutput({ level, message, timestamp }) {
  const text = shown(message);
  if (text === undefined) return;
  const stream = level === "error" || level === "warn" || text !== message ? process.stderr : process.stdout;
  stream.write(`${localize(logged(text, timestamp, stream))}\n`);
}
