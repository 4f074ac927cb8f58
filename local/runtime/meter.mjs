// The meter of invocations (`make dev ARGS="--limits free"`): one more module, which stands before the Worker's main
// module and exports what that exports.
import fs from "node:fs";
import path from "node:path";

const MAIN = "local_meter.py";
const SOURCE = "LOCAL_LIMITS_SOURCE";

/** Miniflare's options with the meter in front, which applies the limits of `plan` to the Worker. */
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
