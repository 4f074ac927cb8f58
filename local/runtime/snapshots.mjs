// Makes and keeps snapshots of the interpreter's memory after the Worker's import. Cloudflare makes a snapshot at each
// upload. A start from a snapshot takes a tenth of the processor time of a start without one.
//
// A snapshot belongs to one state of all modules, so it is never used after a change of source. To make a snapshot, the
// Worker is imported under the rules of an upload, which refuse randomness at import and JavaScript objects in globals.
// The import happens in a separate runtime without storage. If the import fails, the present Worker continues to run.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { convertV4MiniflareOptions, Miniflare } from "./npm.mjs";
import { say } from "./output.mjs";
import { interpreter, runtimeEnvironment } from "./runtime.mjs";

const FILE = "snapshot.bin"; // the name that workerd gives to the snapshot's file
const KEPT = 16; // the number of snapshots that are kept, each of some 45 MB
const RECENT_MS = 120_000;
const PAUSE_MS = 100;
const PULSE_MS = 500; // how often a process that makes a snapshot touches its folder
const DEAD_MS = 5_000; // a folder that nobody has touched for so long belongs to a process that was killed

/**
 * Returns the snapshot of a Worker as { folder, flag } for `runtimeEnvironment`, and makes it if there is none yet.
 * Throws workerd's error if the Worker cannot be imported. `worker` has options of Miniflare: modules, compatibility
 * date, flags.
 */
export async function snapshotOf(request, worker, report) {
  const folder = path.join(request.root, ".build", "snapshots", digest(request, worker));
  await othersEnd(folder);
  if (isMade(folder)) {
    touch(folder);
  } else {
    await make(request, worker, folder, report);
    forget(path.dirname(folder));
  }
  return { folder, flag: `--python-load-snapshot=${FILE}` };
}

// The interpreter knows modules by their names in the folder of the main module, so copies of a Worker in other folders
// share a snapshot.
function digest(request, { compatibilityDate, compatibilityFlags, modules, modulesRoot }) {
  const hash = createHash("sha256");
  hash.update(JSON.stringify([interpreter(request.root, request.clock), compatibilityDate, compatibilityFlags]));
  for (const { path: file, type, contents } of modules) {
    const name = path.relative(modulesRoot, file);
    hash.update(`\0${type} ${name} ${contents.length}\0`).update(contents);
  }
  return hash.digest("hex").slice(0, 32);
}

async function make(request, worker, folder, report) {
  const making = `${folder}.${process.pid}`;
  fs.mkdirSync(making, { recursive: true });
  say("Importing the Worker, once for each change of its source");
  const { name, compatibilityDate, compatibilityFlags, modules, modulesRoot } = worker;
  const snapshot = { folder: making, flag: "--python-save-snapshot" };
  const runtime = new Miniflare(
    convertV4MiniflareOptions({
      ...report,
      workers: [{ name, compatibilityDate, compatibilityFlags, modules, modulesRoot }],
      unsafeRuntimeEnv: runtimeEnvironment(request.root, request.clock, snapshot),
    }),
  );
  const pulse = setInterval(() => touch(making), PULSE_MS);
  try {
    await runtime.ready.catch((error) => {
      if (error.code !== "ERR_RUNTIME_FAILURE") throw error;
      throw new Error("the Worker could not be imported; the cause is above", { cause: error });
    });
    if (!fs.existsSync(path.join(making, FILE))) throw new Error("workerd wrote no snapshot of the interpreter");
    clearInterval(pulse);
    place(making, folder);
  } finally {
    clearInterval(pulse);
    await runtime.dispose().catch(() => {});
    fs.rmSync(making, { recursive: true, force: true });
  }
}

const isMade = (folder) => fs.existsSync(path.join(folder, FILE));

const touch = (folder) => fs.utimesSync(folder, new Date(), new Date());

/** Waits while another process makes the same snapshot. A process that was killed leaves its folder behind. */
async function othersEnd(folder) {
  const parent = path.dirname(folder);
  const isUnderWay = (name) =>
    name.startsWith(`${path.basename(folder)}.`) && Date.now() - lastUse(path.join(parent, name)) < DEAD_MS;
  while (!isMade(folder) && fs.existsSync(parent) && fs.readdirSync(parent).some(isUnderWay)) await sleep(PAUSE_MS);
}

/** Moves the new snapshot to its place, unless another process has already put the same snapshot there. */
function place(making, folder) {
  try {
    fs.renameSync(making, folder);
  } catch (error) {
    if (!isMade(folder)) throw error;
  }
}

/** Deletes old snapshots, except those that were used last and those that another process may be about to load. */
function forget(parent) {
  const used = new Map(fs.readdirSync(parent).map((name) => [name, lastUse(path.join(parent, name))]));
  const names = [...used.keys()].sort((a, b) => used.get(b) - used.get(a));
  const old = names.slice(KEPT).filter((name) => Date.now() - used.get(name) > RECENT_MS);
  for (const name of old) fs.rmSync(path.join(parent, name), { recursive: true, force: true });
}

const lastUse = (folder) => fs.statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? 0;
