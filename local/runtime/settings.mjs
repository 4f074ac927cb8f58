// Turns wrangler.toml, .dev.vars and the command line into options for Miniflare.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { serve } from "./assets.mjs";
import { metered } from "./meter.mjs";
import { workerModules } from "./modules.mjs";
import { Response, wrangler } from "./npm.mjs";
import { withOwnBundle } from "./runtime.mjs";

const here = import.meta.dirname;

/**
 * Under `make dev`, the provider is the built-in one and no API key is needed, whatever wrangler.toml says, because
 * only this machine can reach the server. .dev.vars and --var can change these values.
 */
const LOCAL_DEFAULTS = { AI_PROVIDER: "demo", REQUIRE_KEYS: "false" };

const FRONT = "local-front"; // the name of the front Worker

/** The secret by which the front Worker recognizes the host's requests. */
export const TOKEN = randomUUID();

/** Reads and returns all settings of the host. `request` has the options that dev.py sent. */
export function readSettings(request) {
  const configPath = path.join(request.project, "wrangler.toml");
  const env = request.env ?? undefined;
  const config = wrangler.unstable_readConfig({ config: configPath, env }, { hideWarnings: true });
  // The AI binding needs the network, so it is left out, and the Worker reports it as missing. For a warning about it
  // wrangler would start esbuild. wrangler reads no file of variables here. `readVariables` reads the files of variables,
  // and an unreadable file does not stop the host.
  const known = { ...config, ai: undefined };
  const { workerOptions } = wrangler.unstable_getMiniflareWorkerOptions(known, env, { envFiles: [os.devNull] });
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
    // At these paths the Worker runs first, even if an asset has the path.
    workerFirst: config.assets?.run_worker_first ?? [],
    variables,
    unreadable,
    limits: request.limits ?? defaultLimits(env, variables),
    workerOptions,
  };
}

/** Returns the limits that apply without --limits: the free plan's in the environment `free`, and none in others. */
const defaultLimits = (env, variables) => (env === "free" ? (variables.PLAN ?? "free") : "off");

/** Returns the variables, and as `unreadable` why the file of secrets could not be read, if it exists. */
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

/** Returns Miniflare's options for the Worker and its bindings. */
export function workerOptions(settings, { dayUse }) {
  // The front Worker serves the assets, after it has refused foreign hosts. Miniflare's asset service is not used,
  // because it would answer before the front Worker, and would add five services.
  const { assets: _assets, modulesRules: _rules, rootPath: _root, ...options } = settings.workerOptions;
  const isMetered = settings.limits !== "off";
  const worker = {
    ...options,
    // All environments have the same name here, so that they share the storage of their objects.
    name: settings.name,
    bindings: settings.variables,
    serviceBindings: {
      WEBHOOK_NETWORK: { network: webhookNetwork(settings.variables) },
      ...(isMetered && { USAGE_METER: dayUse.answer }),
    },
    compatibilityFlags: withOwnBundle(options.compatibilityFlags),
    cronTriggers: undefined,
    modulesRoot: path.dirname(settings.main),
    modules: workerModules(settings),
  };
  return isMetered ? metered(worker, settings.limits) : worker;
}

/** Returns Miniflare's options for the front Worker, which gets every request first. */
export function frontOptions(settings, { port }) {
  const names = ["front", "front_access", "front_assets", "front_database"];
  return {
    name: FRONT,
    compatibilityDate: settings.workerOptions.compatibilityDate,
    compatibilityFlags: ["service_binding_extra_handlers"], // lets the front call `scheduled` of the Worker
    bindings: {
      LOCAL_TOKEN: TOKEN,
      CORS_ORIGINS: String(settings.variables.CORS_ORIGINS ?? ""),
      ...(settings.assets && { LOCAL_ASSETS: settings.workerFirst }),
    },
    serviceBindings: { WORKER: settings.name, LOCAL_HOST: hostBinding(settings, port) },
    ...(settings.database && { d1Databases: { DB: settings.workerOptions.d1Databases[settings.database] } }),
    modulesRoot: here,
    modules: names.map((name) => {
      const file = path.join(here, `${name}.mjs`);
      return { type: "ESModule", path: file, contents: fs.readFileSync(file, "utf8") };
    }),
  };
}

/**
 * Returns the addresses to which the Worker may connect: public ones, and this machine's if WEBHOOK_LOOPBACK allows it.
 */
function webhookNetwork(variables) {
  const allow = String(variables.WEBHOOK_LOOPBACK).trim() === "true" ? ["public", "local"] : ["public"];
  return { allow, tlsOptions: { trustBrowserCas: true } };
}

/**
 * Answers the front Worker's requests to this process: for the port, once it is known, and for the dashboard's files.
 */
function hostBinding(settings, port) {
  return async (request) => {
    const { hostname } = new URL(request.url);
    return settings.assets && hostname === "assets.local" ? serve(settings.assets, request) : Response.json(await port);
  };
}
