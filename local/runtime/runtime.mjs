// How workerd is started: npm's binary, which has Cloudflare's own Python glue in it, and the Pyodide bundle that
// pyodide_bundle.py builds (docs/decisions/0039-cloudflares-own-glue.md).
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const workerd = require("workerd");

const BUNDLE = "pyodide_dev.capnp.bin"; // the name that workerd looks for

// workerd checks a released bundle against a digest, and Cloudflare's file is not on npm. The first flag selects the
// release `dev`, which is not checked, unless a newer release is asked for. The compatibility date implies the flags of
// newer releases, so the next three switch these off. One of these flags would imply the last flag, so the last flag is
// set here.
const OWN_BUNDLE = [
  "python_workers_development",
  "no_python_workers_20250116",
  "no_python_workers_20260610",
  "no_python_workers_314",
  "python_dedicated_snapshot",
];

/** The compatibility flags of wrangler.toml, with those that make workerd load our bundle. */
export const withOwnBundle = (flags) => [...flags, ...OWN_BUNDLE];

/** What runs, for the terminal. */
export const versions = {
  workerd: require("workerd/package.json").version,
  pyodide: require("pyodide/package.json").version,
};

process.env.MINIFLARE_WORKERD_PATH = path.join(import.meta.dirname, "workerd.sh");

const bundle = (root, clock) => path.join(root, ".build", "pyodide", clock);

/** What identifies the interpreter. A snapshot of its memory fits no other. */
export function interpreter(root, clock) {
  const contents = fs.readFileSync(path.join(bundle(root, clock), BUNDLE));
  return `${versions.workerd} ${createHash("sha256").update(contents).digest("hex")}`;
}

/** The environment of workerd.sh. `snapshot` is { folder, flag }, undefined for none. */
export function runtimeEnvironment(root, clock, snapshot) {
  return {
    LOCAL_WORKERD: workerd.default ?? workerd,
    LOCAL_BUNDLE: bundle(root, clock),
    LOCAL_SNAPSHOT: snapshot?.folder ?? "",
    LOCAL_SNAPSHOT_FLAG: snapshot?.flag ?? "",
  };
}
