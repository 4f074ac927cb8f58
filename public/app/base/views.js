// Imports the files and the texts of a view, a dialog or a part of a view, all at once, when it is first needed.
import { learn } from "./i18n.js";

// For each view, dialog or part: its list of texts, its component, the component's file, and files that it imports.
const FILES = {
  tasks: ["list", "Tasks", "tasks", "codes", "filters"],
  attempts: ["views", "Attempts", "attempts"],
  batch: ["batch", "Batch", "batch/batch", "actions", "batch/faults", "batch/files", "batch/read", "bill", "deliveries"],
  bulk: ["views", "Bulk", "bulk", "codes"],
  chosen: ["views", "Chosen", "chosen", "bulk", "codes"],
  chunk: ["views", "Chunk", "chunk", "chunks", "output/output", "text"],
  gaps: ["views", "Gaps", "structured/gaps"],
  key: ["list", "KeyDialog", "key"],
  ladder: ["views", "Ladder", "structured/ladder"],
  markdown: ["views", "Markdown", "markdown/markdown", "markdown/allowed", "markdown/nodes", "markdown/portions"],
  sample: ["views", "Sample", "sample", "share"],
  shape: ["views", "Shape", "structured/shape"],
  share: ["list", "Share", "share"],
  tenant: ["views", "TenantDialog", "tenant"],
  quotes: ["views", "Quotes", "structured/quotes"],
  value: ["views", "Value", "structured/value", "structured/exact", "structured/table", "structured/tree"],
  task: ["views", "Task", "task", "actions", "bill", "chunks", "deliveries", "live", "output/output", "waterfall"],
  submit: ["views", "Submit", "submit", "plan", "structured/fields", "text"],
  health: ["views", "Health", "health", "history", "plots"],
  access: ["views", "Access", "access", "keys", "webhooks"],
};
const VIEWS = ["access", "health", "submit", "task", "tasks"];
const ready = new Map();

export const isView = (name) => VIEWS.includes(name);

/** The component with this name if it is loaded, else undefined. */
export const found = (name) => ready.get(name);

/** Loads the component with this name and its texts. */
export async function read(name) {
  const [words, component, ...files] = FILES[name];
  // Chromium 150 keeps a failed import until the page is left. So a request first shows that the server can be reached.
  if (ready.size) await fetch(new URL(`../views/${files[0]}.js`, import.meta.url), { method: "HEAD" });
  const [own] = await Promise.all([...files.map((file) => import(`../views/${file}.js`)), learn(words)]);
  ready.set(name, own[component]);
}
