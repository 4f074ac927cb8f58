// Prints the modules that the local runtime runs for a project, as one line of JSON with each module's name and
// SHA-256. Usage: node tests/support/modules.mjs PROJECT
import { createHash } from "node:crypto";
import path from "node:path";
import { readSettings, workerOptions } from "../../local/runtime/settings.mjs";

const project = process.argv[2];
const settings = readSettings({ project, root: project, env: null, variables: {}, limits: "off" });
const { modules, modulesRoot } = workerOptions(settings, {});
const digest = (contents) => createHash("sha256").update(contents).digest("hex");
const found = modules.map(({ path: file, contents }) => [path.relative(modulesRoot, file), digest(contents)]);
console.log(JSON.stringify(Object.fromEntries(found)));
