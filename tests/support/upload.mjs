// Imports the Worker as the platform does at an upload: in the interpreter that production runs, with the SDK and the
// vendored packages. Prints one line of JSON.
// Usage: node tests/support/upload.mjs watch [FILE] — what the import did, and what a memory snapshot would have to hold;
//          FILE's Python runs first, for faults that must be found
//        node tests/support/upload.mjs time — milliseconds of CPU, for pydantic and then for the rest
import crypto from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { loadPyodide } from "pyodide";

const root = path.join(import.meta.dirname, "..", "..");
// What the platform provides. Its snapshots know how to hold these two.
const entrypoint = { patchWaitUntil() {} };
const flags = {};

async function boot(options) {
  const python = await loadPyodide({ env: { HOME: "/session", PYTHONDONTWRITEBYTECODE: "1" }, ...options });
  put(python, "src", "/session/metadata");
  put(python, "python_modules", "/session/metadata/python_modules");
  python.runPython('import sys; sys.path += ["/session/metadata", "/session/metadata/python_modules"]');
  python.registerJsModule("_pyodide_entrypoint_helper", entrypoint);
  python.registerJsModule("_cloudflare_compat_flags", flags);
  return python;
}

function put(python, folder, target) {
  const from = path.join(root, folder);
  for (const entry of fs.readdirSync(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || entry.parentPath.includes("__pycache__")) continue;
    const file = path.join(entry.parentPath, entry.name);
    const place = path.posix.join(target, path.relative(from, file));
    python.FS.mkdirTree(path.posix.dirname(place));
    python.FS.writeFile(place, fs.readFileSync(file));
  }
}

async function watch(faults) {
  // `_makeSnapshot` makes Pyodide note by which path each JavaScript object was reached from the global scope.
  const python = await boot({ _makeSnapshot: true });
  let entropy = 0;
  const { randomFillSync } = crypto;
  crypto.randomFillSync = (...values) => {
    entropy += 1;
    return randomFillSync(...values);
  };
  // What the platform and the SDK let through: the seed of `random`, and those of pydantic's hash tables.
  python.runPython('import random, pydantic_core; pydantic_core.SchemaValidator({"type": "any"})');
  const allowed = entropy;

  const watching = fs.readFileSync(path.join(root, "tests", "support", "import_watch.py"), "utf8");
  python.runPython(watching.replace(/^if __name__ [^]*/m, ""));
  python.runPython("watch = Watch()\nwatch.begin()");
  if (faults) python.runPython(fs.readFileSync(faults, "utf8"));
  python.pyimport("entry").destroy();
  const seen = JSON.parse(python.runPython("json.dumps(watch.end())"));

  // The table of the JavaScript objects that Python holds: a snapshot holds those whose path is known, and no others.
  const unserializable = [];
  python._api.serializeHiwireState((object) => {
    if (object !== entrypoint && object !== flags) unserializable.push(Object.prototype.toString.call(object));
    return {};
  });

  // A deadline that was met leaves no timer behind.
  await python.runPythonAsync("import asyncio; await asyncio.wait_for(asyncio.sleep(0.01), 600)");
  const timers = process.getActiveResourcesInfo().filter((resource) => resource === "Timeout").length;
  return { ...seen, timers, entropyCalls: entropy - allowed, unserializable };
}

async function time() {
  const python = await boot({ stdLibURL: path.join(root, ".build", "stdlib", "python_stdlib.zip") });
  const used = (work) => {
    const before = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  };
  // `import pydantic` alone is lazy, so one small model stands for it.
  const model = "from pydantic import BaseModel\nclass Model(BaseModel):\n    x: int = 0";
  return { pydantic: used(() => python.runPython(model)), rest: used(() => python.pyimport("entry")) };
}

const [what, file] = process.argv.slice(2);
console.log(JSON.stringify(await { watch, time }[what](file)));
