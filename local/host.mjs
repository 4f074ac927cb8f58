// Runs the Worker on the real workerd, for as long as standard input stays open. Its first line says how: what
// dev.py made of the command line. dev.py closes it, by ending in whatever way, and this process ends too.
import path from "node:path";
import readline from "node:readline";
import { Log, LogLevel, Miniflare, supportedCompatibilityDate } from "miniflare";
import { examine } from "./findings.mjs";
import { applyMigrations } from "./migrations.mjs";
import { printRuntimeOutput, say, stamped } from "./output.mjs";
import { deliverInParallel } from "./queue.mjs";
import { startSchedule } from "./schedule.mjs";
import { readSettings, workerOptions } from "./settings.mjs";
import { DayUse } from "./usage.mjs";
import { watch } from "./watch.mjs";

const BOOT_FAILED_HEADER = "x-local-boot-failed";
const FIRST_REQUEST = "/api/async-status";
const BAD_CONFIGURATION = 2; // the status that this process then ends with

let miniflare;
let stopSchedule = () => {};

async function stop(status) {
  stopSchedule();
  // workerd is killed, not asked: what was accepted must survive that anyway.
  await Promise.race([miniflare?.dispose(), new Promise((done) => setTimeout(done, 2000))]).catch(() => {});
  process.exit(status);
}

/** Where the runtime listens and stores. wrangler's own --persist-to adds the same "v3". */
function placement(request, port) {
  return {
    host: "127.0.0.1",
    port,
    defaultPersistRoot: path.join(request.persistTo, "v3"),
  };
}

const listening = Promise.withResolvers(); // the port, once it is known

/** What the Worker asks this process for. */
const services = { dayUse: undefined, port: listening.promise };

const shared = {
  cf: false,
  log: new Log(LogLevel.ERROR),
  handleStructuredLogs(entry) {
    printRuntimeOutput(entry);
    services.dayUse.observe(entry.message, (line) => say(stamped(line, Date.now())));
  },
  telemetry: { enabled: false },
};

/** Boots the code in a runtime of its own with empty storage, so that code that cannot start replaces nothing. */
async function starts(options) {
  const { queueConsumers: _consumers, ...rest } = options;
  const trial = new Miniflare({ ...shared, ...rest, host: "127.0.0.1", port: 0, modules: trialModules(options) });
  try {
    const response = await trial.dispatchFetch("http://trial/");
    return response.ok;
  } finally {
    await trial.dispose();
  }
}

/** The same modules with another main one, which boots and calls no handler. */
function trialModules({ modules: [main, ...others] }) {
  const boot = `import { boot } from "./shim.mjs";
    export default { fetch: (_, env) => boot(env).then(() => new Response(), () => new Response(null, { status: 500 })) };`;
  return [{ ...main, contents: `${main.contents.replace(/^.* as default .*$/m, "")}\n${boot}` }, ...others];
}

async function begin(request) {
  const onChange = watch(request.project, watched(request.project)); // so that none is missed while it starts
  let settings = readSettings(request);
  let banner = await approved(request, settings);
  if (!banner) return stop(BAD_CONFIGURATION);
  services.dayUse = new DayUse(request.persistTo);
  const listen = { ...shared, ...placement(request, request.port) };
  miniflare = new Miniflare({ ...listen, ...workerOptions(settings, supportedCompatibilityDate, services) });
  const url = await miniflare.ready;
  listen.port = Number(url.port || 80); // a URL leaves out what http has anyway
  await migrate(settings);
  listening.resolve(listen.port); // requests that came before have waited for it: see front.mjs
  if (!(await answers(url))) return stop(1);

  const schedule = () => {
    stopSchedule();
    stopSchedule = startSchedule(settings.crons, request.cronEverySeconds, fire);
  };
  const reload = async () => {
    const startedAt = performance.now();
    const next = readSettings(request);
    const nextBanner = await approved(request, next);
    if (!nextBanner) return say("Not reloaded: the configuration before the change goes on");
    const options = workerOptions(next, supportedCompatibilityDate, services);
    if (!(await starts(options))) return say("Not reloaded: the code before the change goes on");
    nextBanner.filter((line) => !banner.includes(line)).forEach(say);
    banner = nextBanner;
    settings = next;
    stopSchedule();
    try {
      await miniflare.setOptions({ ...listen, ...options });
      await migrate(settings);
      await answers(url);
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
  say(`Ready on http://127.0.0.1:${listen.port}`);
}

/** What will run, as lines. Undefined if it must not: each fault is printed then. */
async function approved(request, settings) {
  const { faults, warnings, banner } = await examine(request, settings);
  for (const warning of warnings) say(`warning: ${warning}`);
  for (const fault of faults) say(`error: ${fault}`);
  return faults.length === 0 ? banner : undefined;
}

const watched = (project) =>
  ["src", "migrations", "wrangler.toml", ".dev.vars"].map((name) => path.join(project, name));

async function fire(cron) {
  const worker = await miniflare.getWorker();
  await worker.scheduled({ cron, scheduledTime: new Date() }).catch(() => {}); // the shim has printed it
}

async function migrate(settings) {
  if (!settings.database) return;
  const applied = await applyMigrations(await miniflare.getD1Database(settings.database), settings.migrations);
  for (const name of applied) say(`Applied migration ${name}`);
}

/** Sends the Worker a request. False when it could not start, in which case its traceback is printed already. */
async function answers(url) {
  const response = await fetch(new URL(FIRST_REQUEST, url));
  await response.arrayBuffer();
  return !response.headers.has(BOOT_FAILED_HEADER);
}

deliverInParallel();
process.on("SIGINT", () => {}); // a terminal sends it to all of the group; dev.py decides
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
