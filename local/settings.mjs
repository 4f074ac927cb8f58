// Turns wrangler.toml, .dev.vars and the command line into options for Miniflare.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";
import { packSources, packVendored } from "./archive.mjs";

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
  const { workerOptions } = wrangler.unstable_getMiniflareWorkerOptions(configPath, env);
  const variables = readVariables(configPath, config, env, request.variables);
  return {
    name: config.topLevelName ?? config.name,
    main: path.resolve(request.project, config.main),
    vendored: path.join(request.root, "python_modules"),
    vendoredExcludes: config.python_modules.exclude,
    migrations: path.resolve(request.project, config.d1_databases[0]?.migrations_dir ?? "migrations"),
    database: config.d1_databases[0]?.binding,
    crons: config.triggers.crons ?? [],
    variables,
    limits: request.limits ?? defaultLimits(env, variables),
    workerOptions,
  };
}

/** Without --limits: those of the plan that the free environment says it is on, none in the others. */
const defaultLimits = (env, variables) => (env === "free" ? (variables.PLAN ?? "free") : "off");

function readVariables(configPath, config, env, overrides) {
  const defaults = { ...config.vars, ...LOCAL_DEFAULTS };
  const found = wrangler.unstable_getVarsForDev(configPath, undefined, defaults, env, true);
  const plain = Object.entries(found).map(([name, binding]) => [name, binding.value]);
  return { ...Object.fromEntries(plain), ...overrides };
}

/** Miniflare's options for the Worker and its bindings; where they listen and store is the caller's business. */
export function workerOptions(settings, supportedDate, dayUse) {
  // The AI binding reaches for the network; the Worker reports it as missing instead.
  const { ai: _ai, modulesRules: _rules, rootPath: _root, ...options } = settings.workerOptions;
  const { compatibilityDate, compatibilityFlags } = options;
  const isMetered = settings.limits !== "off";
  return {
    ...options,
    // One name for all environments, so that they share their objects' storage.
    name: settings.name,
    bindings: isMetered ? { ...settings.variables, LOCAL_LIMITS: settings.limits } : settings.variables,
    serviceBindings: isMetered ? { USAGE_METER: dayUse.answer } : {},
    compatibilityDate: compatibilityDate < supportedDate ? compatibilityDate : supportedDate,
    // The flag asks for workerd's own Python, which is downloaded; shim.mjs brings npm's.
    compatibilityFlags: compatibilityFlags.filter((flag) => !flag.startsWith("python_")),
    cronTriggers: undefined,
    unsafeEvalBinding: "UNSAFE_EVAL",
    modulesRoot: here,
    modules: modules(settings),
  };
}

function modules(settings) {
  const classes = Object.values(settings.workerOptions.durableObjects).map(({ className }) => className);
  const main = [
    `import { durableObject } from "./shim.mjs";`,
    `export { Default as default } from "./shim.mjs";`,
    ...new Set(classes.map((name) => `export const ${name} = durableObject("${name}");`)),
  ];
  const read = (directory, name) => fs.readFileSync(path.join(directory, name));
  const text = (directory, name) => read(directory, name).toString("utf8");
  return [
    { type: "ESModule", path: path.join(here, "main.mjs"), contents: main.join("\n") },
    ...[
      ["ESModule", "shim.mjs", text(here, "shim.mjs")],
      ["ESModule", "limits.mjs", text(here, "limits.mjs")],
      ["ESModule", "scheduling.mjs", text(here, "scheduling.mjs")],
      ["ESModule", "upload.mjs", text(here, "upload.mjs")],
      ["ESModule", "pyodide.mjs", text(pyodide, "pyodide.mjs")],
      ["ESModule", "pyodide.asm.mjs", text(pyodide, "pyodide.asm.mjs")],
      ["CompiledWasm", "pyodide.asm.wasm", read(pyodide, "pyodide.asm.wasm")],
      ["Data", "python_stdlib.zip", read(stdlib, "python_stdlib.zip")],
      ["Text", "pyodide-lock.json", text(pyodide, "pyodide-lock.json")],
      ["Data", "application.bin", packSources(path.dirname(settings.main))],
      ["Data", "vendored.bin", packVendored(settings.vendored, settings.vendoredExcludes)],
    ].map(([type, name, contents]) => ({ type, path: path.join(here, name), contents })),
  ];
}
