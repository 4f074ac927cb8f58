// Adds the meter of invocations (`make dev ARGS="--limits free"`), a module that wraps the Worker's main module and
// exports the same names.
import fs from "node:fs";
import path from "node:path";

const MAIN = "local_meter.py";
const SOURCE = "LOCAL_LIMITS_SOURCE";

/** Returns Miniflare's options with the meter as the main module, which applies the limits of `plan` to the Worker. */
export function metered(options, plan) {
  const text = (name) => fs.readFileSync(path.join(import.meta.dirname, name), "utf8");
  const main = { type: "PythonModule", path: path.join(options.modulesRoot, MAIN), contents: text("meter.py") };
  return {
    ...options,
    bindings: { ...options.bindings, LOCAL_LIMITS: plan, [SOURCE]: text("limits.js") },
    unsafeEvalBinding: "UNSAFE_EVAL",
    modules: [main, ...options.modules],
  };
}
