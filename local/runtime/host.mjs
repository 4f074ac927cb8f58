// Runs the Worker on the real workerd, for as long as standard input stays open. The first line of the input contains
// the options that dev.py has made of the command line. When dev.py ends in any way, the input closes, and this process
// ends too.
import fs from "node:fs";
import path from "node:path";
import readline from "node:readline";
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from "miniflare";
import { examine, isOurs } from "./findings.mjs";
import { FrontClient } from "./front_client.mjs";
import { readMigrations } from "./migrations.mjs";
import { logged, printRuntimeOutput, say } from "./output.mjs";
import { deliverInParallel } from "./queue.mjs";
import { runtimeEnvironment, versions } from "./runtime.mjs";
import { startSchedule } from "./schedule.mjs";
import { frontOptions, readSettings, TOKEN, workerOptions } from "./settings.mjs";
import { snapshotOf } from "./snapshots.mjs";
import { DayUse } from "./usage.mjs";
import { watch } from "./watch.mjs";

const EXPIRE_LEASES = fs.readFileSync(path.join(import.meta.dirname, "expire_leases.sql"), "utf8");
const RUNTIME_LOCK = "runtime.lock"; // the name in lock.py, which tells others the URL
const BAD_CONFIGURATION = 2; // this process then ends with this status

let miniflare;
let stopSchedule = () => {};

async function stop(status) {
  stopSchedule();
  // workerd is killed without warning: accepted tasks must survive that anyway.
  await Promise.race([miniflare?.dispose(), new Promise((done) => setTimeout(done, 2000))]).catch(() => {});
  process.exit(status);
}

const listening = Promise.withResolvers(); // the port, once requests may come in

/** What the Workers ask of this process. */
const services = { dayUse: undefined, port: listening.promise };

const shared = {
  cf: false,
  log: new Log(LogLevel.NONE), // errors are thrown, or are in the structured log
  handleStructuredLogs(entry) {
    printRuntimeOutput(entry);
    services.dayUse.observe(entry.message, (line) => say(logged(line, Date.now())));
  },
  telemetry: { enabled: false },
  verbose: true,
};

/** All of Miniflare's options. Imports the Worker if that has not been done, and throws its import errors. */
async function optionsFor(request, settings, port) {
  const worker = workerOptions(settings, services);
  const snapshot = await snapshotOf(request, worker, shared);
  return convertV4MiniflareOptions({
    ...shared,
    host: "127.0.0.1",
    port,
    // wrangler's own --persist-to adds the same "v3".
    resourcePersistencePath: path.join(request.persistTo, "v3"),
    unsafeRuntimeEnv: runtimeEnvironment(request.root, request.clock, snapshot),
    workers: [frontOptions(settings, services), worker],
  });
}

async function begin(request) {
  const onChange = watch(request.project, watched(request.project)); // early, so that no change is missed
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
  listening.resolve(port); // earlier requests have waited for it: see front_access.mjs

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
  (clock === "moving" ? "" : `, the clock ${clock} within a turn, as hosted`);

/** What will run, as lines. If it must not run, prints each fault and returns undefined. */
async function approved(request, settings) {
  const { faults, warnings, banner } = await examine(request, settings);
  for (const warning of warnings) say(`warning: ${warning}`);
  for (const fault of faults) say(`error: ${fault}`);
  return faults.length === 0 ? banner : undefined;
}

const watched = (project) =>
  ["src", "migrations", "wrangler.toml", ".dev.vars"].map((name) => path.join(project, name));

/** Migrates the database, and ends the leases of killed workers: no other runtime uses the state. */
async function prepare(front, request, settings, begunAt) {
  if (!settings.database) return;
  for (const name of await front.migrate(readMigrations(settings.migrations))) say(`Applied migration ${name}`);
  if (isOurs(request.project)) await front.expireLeases(EXPIRE_LEASES, begunAt);
}

deliverInParallel();
process.on("SIGINT", () => {}); // a terminal sends it to the whole group; dev.py decides
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
