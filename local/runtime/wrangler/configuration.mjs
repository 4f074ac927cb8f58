// Finds what wrangler.toml and the files of variables say, as wrangler reads them. Its answer about wrangler.toml is kept.
// The values of files of variables are secrets, so they are never kept, and wrangler is loaded for each of these files.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { isPlainEnvironment, keep, placeOf, recall } from "./kept.mjs";
import { wrangler } from "./load.mjs";

// From these fields wrangler derives its answer without anything else. For other fields it reads environment variables
// (hyperdrive), other files (containers, text_blobs) or the folder in which it runs.
const SELF_CONTAINED = new Set([
  ...["account_id", "ai", "assets", "build", "compatibility_date", "compatibility_flags", "configPath", "d1_databases"],
  ...["definedEnvironments", "dev", "durable_objects", "jsx_factory", "jsx_fragment", "kv_namespaces", "limits", "main"],
  ...["migrations", "name", "no_bundle", "observability", "preview_urls", "python_modules", "queues", "r2_buckets"],
  ...["ratelimits", "route", "routes", "rules", "targetEnvironment", "topLevelName", "triggers", "userConfigPath"],
  ...["vars", "workers_dev"],
]);

const configPathOf = (request) => path.join(request.project, "wrangler.toml");
const envOf = (request) => request.env ?? undefined;

/**
 * Returns what wrangler.toml says, as kept or as wrangler answers now. Paths are relative to the project. Throws
 * wrangler's error if wrangler.toml is faulty.
 */
export function configurationOf(request) {
  const place = find(request);
  const kept = recall(place);
  if (kept && wouldAccept(request.project, kept.assets)) return kept;
  const { config, workerOptions } = ask(request);
  const answer = {
    name: config.topLevelName ?? config.name,
    main: path.relative(request.project, path.resolve(request.project, config.main)),
    vendoredExcludes: config.python_modules.exclude,
    migrations: config.d1_databases[0]?.migrations_dir ?? "migrations",
    database: config.d1_databases[0]?.binding,
    crons: config.triggers.crons ?? [],
    assets: config.assets?.directory,
    // At these paths the Worker runs first, even if an asset has the path.
    workerFirst: config.assets?.run_worker_first ?? [],
    vars: config.vars,
    workerOptions,
  };
  // If wrangler.toml has changed in the meantime, it is unknown which of its contents wrangler has read. A `main` outside
  // the project, or one that wrangler.toml names by the project's own path, is another file for a copy of the project.
  const isOwn = !answer.main.startsWith("..") && !read(configPathOf(request))?.includes(request.project);
  if (isSelfContained(config) && isOwn && place === find(request)) keep(place, answer);
  return answer;
}

function find(request) {
  const contents = read(configPathOf(request));
  return contents && placeOf(request.root, import.meta.filename, [JSON.stringify(request.env ?? null), contents]);
}

function read(file) {
  try {
    return fs.readFileSync(file);
  } catch {
    return undefined; // wrangler says what is wrong with the file
  }
}

function ask(request) {
  const env = envOf(request);
  const config = wrangler().unstable_readConfig({ config: configPathOf(request), env }, { hideWarnings: true });
  // The AI binding needs the network, so it is left out, and the Worker reports it as missing. For a warning about it
  // wrangler would start esbuild. wrangler reads no file of variables here. `variablesOf` reads the files of variables,
  // and an unreadable file does not stop the host.
  const known = { ...config, ai: undefined };
  const asked = wrangler().unstable_getMiniflareWorkerOptions(known, env, { envFiles: [os.devNull] });
  // The front Worker serves the assets, after it has refused foreign hosts. Miniflare's asset service is not used,
  // because it would answer before the front Worker, and would add five services. The bindings that are left out are
  // variables, which `variablesOf` finds.
  const { assets: _1, bindings: _2, modulesRules: _3, rootPath: _4, ...workerOptions } = asked.workerOptions;
  return { config, workerOptions };
}

const isSelfContained = (config) =>
  Object.entries(config).every(([name, value]) => SELF_CONTAINED.has(name) || isEmpty(value)) &&
  config.r2_buckets.every((bucket) => bucket.local_dev === undefined); // can contain credentials

const isEmpty = (value) => value == null || (typeof value === "object" && Object.values(value).every(isEmpty));

/** Returns whether wrangler would still accept the folder of assets. wrangler reads two files in it, if they exist. */
function wouldAccept(project, directory) {
  const folder = directory && path.resolve(project, directory);
  return !folder || ["_redirects", "_headers"].every((name) => isReadable(path.join(folder, name)));
}

function isReadable(file) {
  try {
    fs.readFileSync(file);
    return true;
  } catch (error) {
    return error.code === "ENOENT"; // and not ENOTDIR: the folder of assets is a file
  }
}

/**
 * Returns the variables: `defaults`, and over them the values of .dev.vars or of .env, as wrangler reads these files.
 * Throws wrangler's error if a file cannot be read.
 */
export function variablesOf(request, defaults) {
  const env = envOf(request);
  const exists = (name) => fs.lstatSync(path.join(request.project, name), { throwIfNoEntry: false }) !== undefined;
  if (isPlainEnvironment && !filesOfVariables(env).some(exists)) return defaults;
  const found = wrangler().unstable_getVarsForDev(configPathOf(request), undefined, defaults, env, true);
  return Object.fromEntries(Object.entries(found).map(([name, binding]) => [name, binding.value]));
}

const filesOfVariables = (env) => [
  ...[".dev.vars", ".env", ".env.local"],
  ...(env === undefined ? [] : [`.dev.vars.${env}`, `.env.${env}`, `.env.${env}.local`]),
];
