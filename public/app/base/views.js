// Which files have a view, a dialog or a part of a view, and which words it needs. They are read when it is first needed,
// all at once.
import { learn } from "./i18n.js";

// The words, the component, the file that has it, and what else that file imports beside the page's own modules.
const FILES = {
  tasks: ["list", "Tasks", "tasks", "codes", "filters"],
  attempts: ["views", "Attempts", "attempts"],
  bulk: ["list", "Bulk", "bulk", "codes"],
  chosen: ["views", "Chosen", "chosen"],
  key: ["list", "KeyDialog", "key"],
  share: ["list", "Share", "share"],
  tenant: ["list", "TenantDialog", "tenant"],
  task: ["views", "Task", "task", "actions", "chunk", "chunks", "deliveries", "live", "text", "waterfall"],
  submit: ["views", "Submit", "submit", "plan", "text"],
  health: ["views", "Health", "health", "history", "plots"],
  access: ["views", "Access", "access", "keys", "webhooks"],
};
const PARTS = ["attempts", "bulk", "chosen", "key", "share", "tenant"]; // of views, and dialogs
const ready = new Map();

export const isView = (name) => Object.hasOwn(FILES, name) && !PARTS.includes(name);

/** The component of this name if it has been read, else undefined. */
export const found = (name) => ready.get(name);

/** Reads the component of this name, with its words. */
export async function read(name) {
  const [words, component, ...files] = FILES[name];
  const [own] = await Promise.all([...files.map((file) => import(`../views/${file}.js`)), learn(words)]);
  ready.set(name, own[component]);
}
