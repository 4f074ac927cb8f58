// Loads Miniflare, which is CommonJS. `import` would read it twice more, to learn its format and its names: 6 MB of source.
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

export const { convertV4MiniflareOptions, Log, LogLevel, Miniflare, QUEUES_PLUGIN, Response } = require("miniflare");
