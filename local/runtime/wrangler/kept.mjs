// Keeps wrangler's answers in `.build/wrangler`, one file for each. A file's name is the digest of everything on which
// the answer depends, so an answer is never used after a change, and copies of a project in other folders share it.
//
// If a file is missing, damaged or not ours, or cannot be written, wrangler is asked again.
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { wranglerState } from "./load.mjs";

const KEPT = 64; // the number of files that are kept, the largest of some 40 KB

// wrangler reads environment variables with these prefixes. With one of them set nothing is kept, and nothing kept is
// used, because the answers may differ.
const PREFIXES = /^(CF|CLOUDFLARE|WRANGLER)_/;
const HARMLESS = "WRANGLER_SEND_METRICS"; // load.mjs sets it anyway

/** Whether no environment variable can change wrangler's answers. */
export const isPlainEnvironment = !Object.keys(process.env).some((name) => PREFIXES.test(name) && name !== HARMLESS);

/**
 * Returns the file for the answer that depends on `parts`, each a string or bytes, and on wrangler. Returns undefined if
 * the environment may change the answer. `asker` is the file of the module that asks and makes the answer.
 */
export function placeOf(root, asker, parts) {
  if (!isPlainEnvironment) return undefined;
  const hash = createHash("sha256").update(JSON.stringify([wranglerState(), process.platform]));
  for (const part of [fs.readFileSync(import.meta.filename), fs.readFileSync(asker), ...parts]) {
    hash.update(`\0${Buffer.byteLength(part)}\0`).update(part);
  }
  return path.join(root, ".build", "wrangler", hash.digest("hex").slice(0, 32));
}

/** Returns the answer that `keep` has put into a file, or undefined. `file` may be undefined. */
export function recall(file) {
  const contents = file && attempt(() => fs.readFileSync(file, "utf8"));
  const [digest, text, ...rest] = contents?.split("\n") ?? [];
  if (text === undefined || rest.length > 0 || digest !== digestOf(text)) return undefined;
  attempt(() => fs.utimesSync(file, new Date(), new Date()));
  return JSON.parse(text);
}

/** Puts an answer into a file, unless JSON would change it. Several processes may do so at once. */
export function keep(file, answer) {
  if (file === undefined || !isPlain(answer)) return;
  const text = JSON.stringify(answer);
  const written = `${file}.${process.pid}`;
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    // The answer contains values of wrangler.toml, which its owner may hide from other users.
    fs.writeFileSync(written, `${digestOf(text)}\n${text}`, { mode: 0o600 });
    fs.renameSync(written, file);
    forget(path.dirname(file));
  } catch {
    attempt(() => fs.rmSync(written, { force: true }));
  }
}

/** Returns the function's result, or undefined if it throws, since no failure here may end a start. */
function attempt(make) {
  try {
    return make();
  } catch {
    return undefined;
  }
}

const digestOf = (text) => createHash("sha256").update(text).digest("hex");

/** Returns whether JSON can represent a value. A property that is undefined counts as one that is missing. */
function isPlain(value) {
  if (value === null || ["string", "boolean", "undefined"].includes(typeof value)) return true;
  if (typeof value === "number") return Number.isFinite(value);
  if (Array.isArray(value)) return value.every((item) => item !== undefined && isPlain(item));
  if (typeof value !== "object" || ![Object.prototype, null].includes(Object.getPrototypeOf(value))) return false;
  return Object.values(value).every(isPlain);
}

/** Deletes the files that were used longest ago. A process that is about to read one of them asks wrangler instead. */
function forget(folder) {
  const used = new Map(fs.readdirSync(folder).map((name) => [name, lastUse(path.join(folder, name))]));
  const names = [...used.keys()].sort((a, b) => used.get(b) - used.get(a));
  for (const name of names.slice(KEPT)) fs.rmSync(path.join(folder, name), { recursive: true, force: true });
}

const lastUse = (file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
