// Turns wrangler.toml, .dev.vars and the command line into options for Miniflare.
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createRequire } from "node:module";
import { Response } from "miniflare";
import { packSources, packVendored } from "./archive.mjs";
import { serve } from "./assets.mjs";

const here = import.meta.dirname;
const require = createRequire(import.meta.url);
const pyodide = path.dirname(require.resolve("pyodide"));
const stdlib = path.join(here, "..", ".build", "stdlib"); // where install.py puts what stdlib.mjs compiles

process.env.WRANGLER_LOG ??= "error"; // wrangler's advice about deployments is noise here
process.env.WRANGLER_SEND_METRICS = "false";
const wrangler = await import("wrangler").then((module) => module.default ?? module);

/** Under `make dev`, whatever a deployment has, the provider is the built-in one and no key is needed, unless
 * .dev.vars or --var says otherwise: only this machine reaches it. */
const LOCAL_DEFAULTS = { AI_PROVIDER: "demo", REQUIRE_KEYS: "false" };

/** Everything that the host needs to know, read afresh. `request` is what dev.py sent. */
export function readSettings(request) {
  const configPath = path.join(request.project, "wrangler.toml");
  const env = request.env ?? undefined;
  const config = wrangler.unstable_readConfig({ config: configPath, env }, { hideWarnings: true });
  // Variables are read below, where a file that cannot be read ends nothing.
  const { workerOptions } = wrangler.unstable_getMiniflareWorkerOptions(configPath, env, { envFiles: [os.devNull] });
  const { variables, unreadable } = readVariables(configPath, config, env, request.variables);
  return {
    name: config.topLevelName ?? config.name,
    main: path.resolve(request.project, config.main),
    vendored: path.join(request.root, "python_modules"),
    vendoredExcludes: config.python_modules.exclude,
    migrations: path.resolve(request.project, config.d1_databases[0]?.migrations_dir ?? "migrations"),
    database: config.d1_databases[0]?.binding,
    crons: config.triggers.crons ?? [],
    assets: config.assets?.directory && path.resolve(request.project, config.assets.directory),
    // Where the Worker runs first, assets or not.
    workerFirst: config.assets?.run_worker_first ?? [],
    variables,
    unreadable,
    limits: request.limits ?? defaultLimits(env, variables),
    workerOptions,
  };
}

/** Without --limits: those of the plan that the free environment says it is on, none in the others. */
const defaultLimits = (env, variables) => (env === "free" ? (variables.PLAN ?? "free") : "off");

/** `unreadable` says why the file of secrets could not be read, if it is there and could not. */
function readVariables(configPath, config, env, overrides) {
  const defaults = { ...config.vars, ...LOCAL_DEFAULTS };
  try {
    const found = wrangler.unstable_getVarsForDev(configPath, undefined, defaults, env, true);
    const plain = Object.entries(found).map(([name, binding]) => [name, binding.value]);
    return { variables: { ...Object.fromEntries(plain), ...overrides } };
  } catch (error) {
    const unreadable = `${error.message.replace(/:$/, "")} (${error.cause?.code ?? error.cause?.message})`;
    return { variables: { ...defaults, ...overrides }, unreadable };
  }
}

/** Miniflare's options for the Worker and its bindings; where they listen and store is the caller's business. */
export function workerOptions(settings, supportedDate, { dayUse, port }) {
  // The AI binding reaches for the network; the Worker reports it as missing instead. Assets are served behind front.mjs,
  // which refuses foreign hosts before anything else: Miniflare's own way would stand before it, with five services more.
  const { ai: _ai, assets: _assets, modulesRules: _rules, rootPath: _root, ...options } = settings.workerOptions;
  const { compatibilityDate, compatibilityFlags } = options;
  const isMetered = settings.limits !== "off";
  return {
    ...options,
    // One name for all environments, so that they share their objects' storage.
    name: settings.name,
    bindings: {
      ...settings.variables,
      ...(isMetered && { LOCAL_LIMITS: settings.limits }),
      ...(settings.assets && { LOCAL_ASSETS: settings.workerFirst }),
    },
    serviceBindings: {
      LOCAL_HOST: hostBinding(settings, port),
      WEBHOOK_NETWORK: { network: webhookNetwork(settings.variables) },
      ...(isMetered && { USAGE_METER: dayUse.answer }),
    },
    compatibilityDate: compatibilityDate < supportedDate ? compatibilityDate : supportedDate,
    // The flag asks for workerd's own Python, which is downloaded; shim.mjs brings npm's.
    compatibilityFlags: compatibilityFlags.filter((flag) => !flag.startsWith("python_")),
    cronTriggers: undefined,
    unsafeEvalBinding: "UNSAFE_EVAL",
    modulesRoot: here,
    modules: modules(settings),
  };
}

/** Where webhooks may go: to no private address, whatever name it has; to this machine if WEBHOOK_LOOPBACK says so. */
function webhookNetwork(variables) {
  const allow = String(variables.WEBHOOK_LOOPBACK).trim() === "true" ? ["public", "local"] : ["public"];
  return { allow, tlsOptions: { trustBrowserCas: true } };
}

/**
 * What the runtime asks this process for: the port, and what is too large to be a module. Miniflare copies all of the
 * configuration again for each little piece that it adds, so with 25 MB in it a start took two seconds longer.
 */
function hostBinding(settings, port) {
  const files = {
    "pyodide.asm.wasm": fs.readFileSync(path.join(pyodide, "pyodide.asm.wasm")),
    "python_stdlib.zip": fs.readFileSync(path.join(stdlib, "python_stdlib.zip")),
    "application.bin": packSources(path.dirname(settings.main)),
    "vendored.bin": packVendored(settings.vendored, settings.vendoredExcludes),
  };
  return async (request) => {
    if (settings.assets && new URL(request.url).hostname === "assets.local") return serve(settings.assets, request);
    const name = path.basename(new URL(request.url).pathname);
    return name === "port" ? Response.json(await port) : new Response(files[name]);
  };
}

function modules(settings) {
  const classes = Object.values(settings.workerOptions.durableObjects).map(({ className }) => className);
  const main = [
    `import { durableObject } from "./shim.mjs";`,
    `export { Default as default } from "./shim.mjs";`,
    ...new Set(classes.map((name) => `export const ${name} = durableObject("${name}");`)),
  ];
  const text = (directory, name) => fs.readFileSync(path.join(directory, name), "utf8");
  return [
    { type: "ESModule", path: path.join(here, "main.mjs"), contents: main.join("\n") },
    ...[
      ["ESModule", "shim.mjs", text(here, "shim.mjs")],
      ["ESModule", "front.mjs", text(here, "front.mjs")],
      ["ESModule", "front_assets.mjs", text(here, "front_assets.mjs")],
      ["ESModule", "calling.mjs", text(here, "calling.mjs")],
      ["ESModule", "limits.mjs", text(here, "limits.mjs")],
      ["ESModule", "scheduling.mjs", text(here, "scheduling.mjs")],
      ["ESModule", "upload.mjs", text(here, "upload.mjs")],
      ["ESModule", "pyodide.mjs", text(pyodide, "pyodide.mjs")],
      ["ESModule", "pyodide.asm.mjs", text(pyodide, "pyodide.asm.mjs")],
      ["Text", "pyodide-lock.json", text(pyodide, "pyodide-lock.json")],
    ].map(([type, name, contents]) => ({ type, path: path.join(here, name), contents })),
  ];
}
