// Turns wrangler.toml, .dev.vars and the command line into options for Miniflare.
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { serve } from "./assets.mjs";
import { metered } from "./meter.mjs";
import { workerModules } from "./modules.mjs";
import { Response } from "./npm.mjs";
import { withOwnBundle } from "./runtime.mjs";
import { configurationOf, variablesOf } from "./wrangler/configuration.mjs";

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
  const { main, vars, migrations, assets, ...said } = configurationOf(request);
  const { variables, unreadable } = readVariables(request, vars);
  return {
    ...said,
    main: path.resolve(request.project, main),
    vendored: path.join(request.root, "python_modules"),
    migrations: path.resolve(request.project, migrations),
    assets: assets && path.resolve(request.project, assets),
    variables,
    unreadable,
    limits: request.limits ?? defaultLimits(request.env, variables),
  };
}

/** Returns the limits that apply without --limits: the free plan's in the environment `free`, and none in others. */
const defaultLimits = (env, variables) => (env === "free" ? (variables.PLAN ?? "free") : "off");

/** Returns the variables, and as `unreadable` why the file of secrets could not be read, if it exists. */
function readVariables(request, vars) {
  const defaults = { ...vars, ...LOCAL_DEFAULTS };
  try {
    return { variables: { ...variablesOf(request, defaults), ...request.variables } };
  } catch (error) {
    const unreadable = `${error.message.replace(/:$/, "")} (${error.cause?.code ?? error.cause?.message})`;
    return { variables: { ...defaults, ...request.variables }, unreadable };
  }
}

/** Returns Miniflare's options for the Worker and its bindings. */
export function workerOptions(settings, { dayUse }) {
  const options = settings.workerOptions;
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
