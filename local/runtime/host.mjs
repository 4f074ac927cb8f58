// Runs the Worker on the real workerd as long as standard input is open. The first line of the input has the options
// that dev.py has made from the command line. When dev.py ends for any reason, the input closes, and this process ends.
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { examine, isOurs } from "./findings.mjs";
import { FrontClient } from "./front_client.mjs";
import { readMigrations } from "./migrations.mjs";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "./npm.mjs";
import { logged, printRuntimeOutput, say } from "./output.mjs";
import { deliverInParallel } from "./queue.mjs";
import { runtimeEnvironment, versions } from "./runtime.mjs";
import { startSchedule } from "./schedule.mjs";
import { frontOptions, readSettings, TOKEN, workerOptions } from "./settings.mjs";
import { snapshotOf } from "./snapshots.mjs";
import { DayUse } from "./usage.mjs";
import { watch } from "./watch.mjs";

const EXPIRE_LEASES = fs.readFileSync(path.join(import.meta.dirname, "expire_leases.sql"), "utf8");
const RUNTIME_LOCK = "runtime.lock"; // the file of lock.py from which other programs learn the URL
const BAD_CONFIGURATION = 2; // the exit status for a configuration with faults

let miniflare;
let stopSchedule = () => {};

async function stop(status) {
  stopSchedule();
  // workerd is killed without warning, because accepted tasks must survive its sudden end anyway.
  await Promise.race([miniflare?.dispose(), new Promise((done) => setTimeout(done, 2000))]).catch(() => {});
  process.exit(status);
}

const listening = Promise.withResolvers(); // resolves to the port once requests may pass

/** The functions of this process that the Workers call. */
const services = { dayUse: undefined, port: listening.promise };

const shared = {
  cf: false,
  log: new Log(LogLevel.NONE), // Miniflare throws its errors, and workerd writes a structured log
  handleStructuredLogs(entry) {
    printRuntimeOutput(entry);
    services.dayUse.observe(entry.message, (line) => say(logged(line, Date.now())));
  },
  telemetry: { enabled: false },
  verbose: true,
};

/**
 * Returns all options of Miniflare. Imports the Worker to make its snapshot if there is none, and throws its errors.
 */
async function optionsFor(request, settings, port) {
  const worker = workerOptions(settings, services);
  const snapshot = await snapshotOf(request, worker, shared);
  return convertV4MiniflareOptions({
    ...shared,
    host: "127.0.0.1",
    port,
    // wrangler also adds "v3" to the folder of its flag --persist-to.
    resourcePersistencePath: path.join(request.persistTo, "v3"),
    unsafeRuntimeEnv: runtimeEnvironment(request.root, request.clock, snapshot),
    workers: [frontOptions(settings, services), worker],
  });
}

async function begin(request) {
  // The watch begins before the import, so that no change is missed.
  const onChange = watch(request.project, watched(request.project));
  let settings = readSettings(request);
  let banner = await approved(request, settings);
  if (!banner) return stop(BAD_CONFIGURATION);
  services.dayUse = new DayUse(request.persistTo);
  const options = await optionsFor(request, settings, request.port);
  const begunAt = Date.now();
  miniflare = new Miniflare(options);
  const url = await miniflare.ready;
  const port = Number(url.port || 80); // a URL omits the default port
  const front = new FrontClient(url, TOKEN);
  await prepare(front, request, settings, begunAt);
  listening.resolve(port); // earlier requests have waited for the port in front_access.mjs

  const schedule = () => {
    stopSchedule();
    stopSchedule = startSchedule(settings.crons, request.cronEverySeconds, (cron) => front.scheduled(cron));
  };
  const reload = async () => {
    const startedAt = performance.now();
    const next = readSettings(request);
    const nextBanner = await approved(request, next);
    if (!nextBanner) return say("Not reloaded: the previous configuration stays in use");
    const options = await optionsFor(request, next, port).catch((error) => say(error.message));
    if (!options) return say("Not reloaded: the previous code stays in use");
    nextBanner.filter((line) => !banner.includes(line)).forEach(say);
    banner = nextBanner;
    settings = next;
    stopSchedule();
    try {
      const restartedAt = Date.now();
      await miniflare.setOptions(options);
      await prepare(front, request, settings, restartedAt);
    } finally {
      schedule();
    }
    say(`Reloaded in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
  };
  schedule();
  onChange(async (name) => {
    say(`Reloading: ${name} changed`);
    await reload().catch((error) => say(`Reload failed: ${error.message}`));
  });
  banner.forEach(say);
  say(runtimeLine(request.clock));
  fs.writeFileSync(path.join(request.persistTo, RUNTIME_LOCK), `http://127.0.0.1:${port}`); // lock.py reads it
  say(`Ready on http://127.0.0.1:${port}`);
}

const runtimeLine = (clock) =>
  `runtime   workerd ${versions.workerd}, Cloudflare's own Python glue, Pyodide ${versions.pyodide}` +
  (clock === "moving" ? "" : `, clock ${clock} within a turn, as on Cloudflare`);

/**
 * Returns lines that describe what will run. If the configuration is faulty, prints the faults and returns undefined.
 */
async function approved(request, settings) {
  const { faults, warnings, banner } = await examine(request, settings);
  for (const warning of warnings) say(`warning: ${warning}`);
  for (const fault of faults) say(`error: ${fault}`);
  return faults.length === 0 ? banner : undefined;
}

const watched = (project) =>
  ["src", "migrations", "wrangler.toml", ".dev.vars"].map((name) => path.join(project, name));

/** Migrates the database, and ends the leases of killed workers, since no other runtime uses the state. */
async function prepare(front, request, settings, begunAt) {
  if (!settings.database) return;
  const migrations = readMigrations(request.root, settings.migrations);
  for (const name of await front.migrate(migrations)) say(`Applied migration ${name}`);
  if (isOurs(request.project)) await front.expireLeases(EXPIRE_LEASES, begunAt);
}

deliverInParallel();
process.on("SIGINT", () => {}); // Ctrl-C in a terminal reaches all processes of the group, and dev.py handles it
process.on("SIGTERM", () => stop(0));

const input = readline.createInterface({ input: process.stdin });
input.once("line", (line) => {
  const request = JSON.parse(line);
  begin(request).catch((error) => {
    const taken = error.code === "ERR_ADDRESS_IN_USE" || error.code === "EADDRINUSE";
    say(taken ? `error: port ${request.port} is taken; choose another with --port` : `error: ${error.message}`);
    return stop(1);
  });
});
input.once("close", () => stop(0));
