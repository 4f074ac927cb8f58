// Sets how workerd is started: with npm's binary, which includes Cloudflare's Python glue, and with the Pyodide bundle
// that pyodide_bundle.py builds (docs/decisions/deployment.md#d0039).
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const workerd = require("workerd");

const BUNDLE = "pyodide_dev.capnp.bin"; // the name of the bundle's file, by which workerd finds it

// workerd checks the digest of a released bundle, and Cloudflare's file is not on npm. The first flag selects the
// release `dev`, whose digest is not checked, unless a flag selects a newer release. The compatibility date implies the
// flags of newer releases, and the next three flags disable them. One of the disabled flags would imply the last flag,
// which is therefore set in this list.
const OWN_BUNDLE = [
  "python_workers_development",
  "no_python_workers_20250116",
  "no_python_workers_20260610",
  "no_python_workers_314",
  "python_dedicated_snapshot",
];

/** Returns the compatibility flags of wrangler.toml, and the flags that make workerd load the built bundle. */
export const withOwnBundle = (flags) => [...flags, ...OWN_BUNDLE];

/** Returns a description of the runtime for the terminal. */
export const versions = {
  workerd: require("workerd/package.json").version,
  pyodide: require("pyodide/package.json").version,
};

// An isolate of the platform has 128 MB. Here JavaScript's heap and WebAssembly's memory, which has 64 KiB a page, have as
// much together (docs/limits.md#an-isolates-memory). A later flag of the user's own overrides one of these.
const MEMORY = ["--max-heap-size=44", "--wasm-max-mem-pages=1280"];
const given = process.env.MINIFLARE_WORKERD_V8_FLAGS?.split(" ") ?? [];
process.env.MINIFLARE_WORKERD_V8_FLAGS = [...MEMORY, ...given].join(" ");

process.env.MINIFLARE_WORKERD_PATH = path.join(import.meta.dirname, "workerd.sh");

const bundle = (root, clock) => path.join(root, ".build", "pyodide", clock);

/**
 * Returns what identifies the interpreter, since a snapshot of its memory can be loaded only by the same one. To read the
 * bundle's 13 MB at each start would take 25 ms of processor time. So its size and its time stand for its contents, with
 * its builder, which has the digest of what it builds.
 */
export function interpreter(root, clock) {
  const { size, mtimeMs } = fs.statSync(path.join(bundle(root, clock), BUNDLE));
  const builder = fs.readFileSync(path.join(root, "local", "pyodide_bundle.py"), "utf8");
  return JSON.stringify([versions, clock, size, mtimeMs, builder]);
}

/** Returns the environment variables of workerd.sh. `snapshot` is { folder, flag }, or undefined for none. */
export function runtimeEnvironment(root, clock, snapshot) {
  return {
    LOCAL_WORKERD: workerd.default ?? workerd,
    LOCAL_BUNDLE: bundle(root, clock),
    LOCAL_SNAPSHOT: snapshot?.folder ?? "",
    LOCAL_SNAPSHOT_FLAG: snapshot?.flag ?? "",
  };
}
