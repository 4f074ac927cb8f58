// The rules of an upload, for the local runtime: production imports the Worker once, takes a snapshot of the
// interpreter's memory and starts each isolate from that (docs/decisions/0013-imported-once.md).
//
// Refused here as there: randomness while `entry` is imported, and objects of JavaScript in the globals of its modules
// that a snapshot could not name. Here that is all but the global scope and what stands in it under its own name; in
// production any path will do, and all of Python is searched. Not refused: the seeds of hash tables that packages take in
// C or Rust, which production lets through for those that it knows, and clocks, which production does not refuse either.
const RULES = `
import os
import random
import sys
from functools import wraps

import js
from pyodide.ffi import JsProxy

WHY = "randomness at import: an upload refuses it, because every isolate would start with the same"

importing = True
originals = []


def guard(owner, name, error, refused=lambda *values, **named: True):
    original = getattr(owner, name)

    @wraps(original)
    def guarded(*values, **named):
        if importing and refused(*values, **named):  # who has imported the name keeps this function
            raise error
        return original(*values, **named)

    originals.append((owner, name, original))
    setattr(owner, name, guarded)


def begin():
    guard(os, "urandom", OSError(29, WHY))
    guard(random, "_urandom", OSError(29, WHY))
    guard(random.Random, "seed", RuntimeError(WHY), lambda self, a=None, version=2: a is None)
    for name in random.__all__:
        if not isinstance(getattr(random, name), type):
            guard(random, name, RuntimeError(WHY))


def end():
    global importing
    importing = False
    for original in originals:
        setattr(*original)


def nameable(value):
    if value.js_id == js.globalThis.js_id:
        return True
    found = getattr(js, getattr(value, "name", None) or "", None)
    return isinstance(found, JsProxy) and found.js_id == value.js_id


def check():
    kept = [
        f"{module}.{name}"
        for module, loaded in list(sys.modules.items())
        if module == "entry" or module.partition(".")[0] == "src"
        for name, value in vars(loaded).items()
        if isinstance(value, JsProxy) and not nameable(value)
    ]
    if kept:
        raise RuntimeError(f"globals with objects of JavaScript that a snapshot cannot hold: {', '.join(kept)}")
`;

/** Calls `load`, which imports the Worker, under the rules. Throws what it throws, and for what it leaves behind. */
export function importing(python, load) {
  const globals = python.toPy({});
  python.runPython(RULES, { filename: "local/upload.mjs", globals });
  python.runPython("begin()", { globals });
  let loaded;
  try {
    loaded = load();
  } finally {
    python.runPython("end()", { globals });
  }
  python.runPython("check()", { globals });
  globals.destroy();
  return loaded;
}
