// Lists the files and the texts of each view, each dialog and each part of a view, and imports them. The files of a
// view are imported together when the view is first needed.
import { learn } from "./i18n.js";

// For each view, dialog or part: its list of texts, its component, the file of the component, and other files that the
// component imports.
const FILES = {
  tasks: ["list", "Tasks", "tasks", "codes", "filters"],
  attempts: ["views", "Attempts", "attempts"],
  bulk: ["list", "Bulk", "bulk", "codes"],
  chosen: ["views", "Chosen", "chosen"],
  gaps: ["views", "Gaps", "structured/gaps"],
  key: ["list", "KeyDialog", "key"],
  ladder: ["views", "Ladder", "structured/ladder"],
  shape: ["views", "Shape", "structured/shape"],
  share: ["list", "Share", "share"],
  tenant: ["list", "TenantDialog", "tenant"],
  value: ["views", "Value", "structured/value", "structured/exact", "structured/table", "structured/tree"],
  task: ["views", "Task", "task", "actions", "chunk", "chunks", "deliveries", "live", "text", "waterfall"],
  submit: ["views", "Submit", "submit", "plan", "structured/fields", "text"],
  health: ["views", "Health", "health", "history", "plots"],
  access: ["views", "Access", "access", "keys", "webhooks"],
};
const PARTS = ["attempts", "bulk", "chosen", "gaps", "key", "ladder", "shape", "share", "tenant", "value"]; // of views, and dialogs
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
