// The user's choices. The browser keeps language, theme and the form of outputs, but key and tenant only for the tab.
const listeners = new Set();

const read = (store, name) => {
  try {
    return store().getItem(name);
  } catch {
    return null;
  }
};
const write = (store, name, value) => {
  try {
    if (value === null) store().removeItem(name);
    else store().setItem(name, value);
  } catch {
    // The browser may forbid storage. The choice then ends with the page.
  }
};
const local = () => window.localStorage;
const tab = () => window.sessionStorage;

const browserLanguage = () => (navigator.languages?.[0] ?? navigator.language ?? "en").toLowerCase();
const OF_TAB = ["key", "tenant", "writes", "operates"];
const LANGUAGES = ["en", "zh"];
const chosen = {
  language: LANGUAGES.find((language) => language === read(local, "onceover.language")) ?? (browserLanguage().startsWith("zh") ? "zh" : "en"),
  theme: read(local, "onceover.theme") ?? "auto",
  outputs: read(local, "onceover.outputs") ?? "text",
  key: read(tab, "onceover.key") ?? "",
  tenant: read(tab, "onceover.tenant") ?? "", // empty: the key's own
  writes: read(tab, "onceover.writes") ?? "", // whether the key may change tasks: yes or no; empty: not known
  operates: read(tab, "onceover.operates") ?? "", // no: the key may not choose a tenant
};

export const prefs = () => chosen;

/** Whose tasks a request would see: the API key and the chosen tenant. */
export const whose = () => `${chosen.key} ${chosen.tenant}`;

/** Whether the page offers changes of tasks. The page offers none until the key's rights are known. */
export const mayWrite = () => chosen.key === "" || chosen.writes === "yes";
export const mayOperate = () => chosen.writes !== "" && chosen.operates === "";

export function choose(name, value) {
  if (name === "key" && value !== chosen.key) choose("writes", "");
  chosen[name] = value;
  write(OF_TAB.includes(name) ? tab : local, `onceover.${name}`, value === "" ? null : value);
  apply();
  for (const listener of listeners) listener();
}

/** Calls `listener` after each choice. Returns a function that removes `listener`. */
export function onChoice(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function apply() {
  document.documentElement.lang = chosen.language === "zh" ? "zh-CN" : "en";
  document.documentElement.dataset.theme = chosen.theme;
}

const DRAFT_MOST = 2_000_000; // code units; a tab's storage has no room for a longer text
let written; // the draft of this page, of any length

/** The fields of a new task (`input` is the text), kept while the page is open and over a reload of this tab. */
export const draft = {
  read: () => written ?? JSON.parse(read(tab, "onceover.draft") ?? "null"),
  write: (value) => {
    written = value;
    write(tab, "onceover.draft", JSON.stringify(value.input.length > DRAFT_MOST ? { ...value, input: "" } : value));
  },
};
