// Loads Miniflare and wrangler, which are CommonJS. `import` would read each of them twice more, to learn their format
// and their names: 10 MB of source, which took half of the processor time of a start.
import { createRequire } from "node:module";

process.env.WRANGLER_LOG ??= "error"; // wrangler prints no advice about deployments then
process.env.WRANGLER_SEND_METRICS = "false";

const require = createRequire(import.meta.url);

export const { convertV4MiniflareOptions, Log, LogLevel, Miniflare, QUEUES_PLUGIN, Response } = require("miniflare");
export const wrangler = require("wrangler");
