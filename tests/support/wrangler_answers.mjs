// Answers as the local runtime does what wrangler says about a project, and records which of wrangler's functions that
// took. Reads requests as host.mjs does, each a line of JSON, and writes a line of JSON for each. With `meanwhile` in a
// request, wrangler.toml gets these contents just before wrangler reads it.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import readline from "node:readline";
import { readMigrations } from "../../local/runtime/migrations.mjs";
import { configurationOf, variablesOf } from "../../local/runtime/wrangler/configuration.mjs";

// An object in wrangler's place records the functions that are taken from it, and loads wrangler itself on demand.
const require = createRequire(import.meta.url);
const file = require.resolve("wrangler");
let asked = [];
let request;
let real;
const recording = new Proxy({}, {
  get(_, name) {
    asked.push(name);
    if (request.meanwhile) fs.writeFileSync(path.join(request.project, "wrangler.toml"), request.meanwhile);
    delete require.cache[file];
    real ??= require(file);
    require.cache[file] = place;
    return real[name];
  },
});
const place = { id: file, filename: file, loaded: true, exports: recording, children: [], paths: [] };
require.cache[file] = place;

function answer() {
  const { vars, ...configuration } = configurationOf(request);
  const variables = variablesOf(request, vars);
  const migrations = readMigrations(request.root, path.join(request.project, configuration.migrations));
  return { configuration, variables, migrations };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  asked = [];
  request = JSON.parse(line);
  let result;
  try {
    result = answer();
  } catch (error) {
    result = { error: error.message };
  }
  console.log(JSON.stringify({ ...result, asked }));
}
