// Loads wrangler when it is asked something, which takes a third of the processor time that Node.js needs for a start.
// Its answers are kept (kept.mjs), so most starts do not load it.
import fs from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** Returns wrangler's functions. `import` would read its 15 MB twice more, to learn their format and their names. */
export function wrangler() {
  process.env.WRANGLER_LOG ??= "error"; // wrangler prints no advice about deployments then
  process.env.WRANGLER_SEND_METRICS = "false";
  return require("wrangler");
}

/** Returns the version of wrangler, and the state of its program's file, in case somebody has edited it. */
export function wranglerState() {
  const { size, mtimeMs } = fs.statSync(require.resolve("wrangler"));
  return [require("wrangler/package.json").version, size, mtimeMs];
}
