// Small components that several views use.
import { now } from "./api.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./dom.js";
import { absolute, clock, count, explained, percent, relative, t } from "./i18n.js";
import { useNow } from "./refresh.js";
import { found, read } from "./views.js";

const ASK_AGAIN_MS = 3000;
const LONG = 20_000; // code units that are shown of a text at first

/** Shows the view or dialog `name` with the other properties. Loads the view's file again until that succeeds. */
export function Lazy({ name, ...others }) {
  const [trouble, setTrouble] = useState(0); // how often it could not be read
  const [, setRead] = useState("");
  const View = found(name);
  useEffect(() => {
    if (View) return undefined;
    let [timer, current] = [undefined, true];
    const ask = () => {
      if (document.hidden) return;
      read(name).then(
        () => current && setRead(name),
        () => current && (setTrouble((number) => number + 1), (timer = setTimeout(ask, ASK_AGAIN_MS))),
      );
    };
    document.addEventListener("visibilitychange", ask);
    ask();
    return () => {
      current = false;
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", ask);
    };
  }, [name, View]);
  if (View) return html`<${View} ...${others} />`;
  return trouble > 0 ? html`<${Notice} tone="bad">${t("error.unreachable")}<//>` : null;
}

/** What a server or a provider said, in a language that the page does not know. Its direction marks end with it. */
export const Quote = ({ children }) => html`<q lang=""><bdi>${children}</bdi></q>`;

export const Hint = ({ children }) => html`<details class="why"><summary aria-label=${t("explain")}>?</summary><div class="hint">${children}</div></details>`;

export const Chip = ({ status }) => html`<span class=${`chip is-${status}`}>${t(`status.${status}`)}</span>`;

export function Time({ at, both = false }) {
  useNow();
  if (!at) return html`<span class="dim">${t("never")}</span>`;
  const exact = absolute(at);
  return html`<time dateTime=${at} title=${exact}>${relative(at)}${both && html` <span class="dim">${exact}</span>`}</time>`;
}

export function Bar({ part, of, label, tone = "" }) {
  const share = of > 0 ? Math.min(1, part / of) : 0;
  return html`<div
    class=${`bar ${tone}`}
    role="progressbar"
    aria-label=${label}
    aria-valuemin="0"
    aria-valuemax=${of}
    aria-valuenow=${part}
    title=${percent(share)}
  >
    <span style=${{ width: `${share * 100}%` }}></span>
  </div>`;
}

export const Notice = ({ tone = "", title, children }) =>
  html`<div class=${`notice ${tone}`} role=${tone === "bad" ? "alert" : "note"}>
    ${title && html`<strong>${title} </strong>`}${children}
  </div>`;

export function Trouble({ error }) {
  if (!error) return null;
  const [said, quoted] = explained(error);
  return html`<${Notice} tone="bad">
    ${said}${quoted && html` <${Quote}>${quoted}<//>`}
    ${error.requestId && html` <small class="dim">${t("requestId")} <code>${error.requestId}</code></small>`}
  <//>`;
}

/** When the shown data were read, and a button to read them again. `note` says how the data stay current. */
export function Freshness({ state, note, isLive = false }) {
  const { at, busy, error, again } = state;
  return html`<p class="freshness">
    <span>
      ${at ? t("asOf", { time: clock(at) }) : t(error ? "notRead" : "loading")}
      ${error && at && html` · <strong>${t("stale")}</strong>`}
      ${note && html` · <span class=${isLive ? "live" : ""}>${note}</span>`}
    </span>
    <button type="button" class="quiet" onClick=${again} aria-disabled=${busy}>${t("refresh")}</button>
  </p>`;
}

/** A part of a view. A question mark opens its `hint`, and `beside` stands on the right of its title. */
export const Card = ({ title, hint, beside, children }) =>
  html`<section class="card" aria-label=${title}>
    <div class="head"><span class="row"><h2>${title}</h2>${hint && html`<${Hint}>${hint}<//>`}</span>${beside}</div>
    ${children}
  </section>`;

/** A list of terms and values. Terms without a value are left out. */
export const Facts = ({ of }) =>
  html`<dl class="facts">
    ${of
      .filter(([, value]) => value !== null && value !== undefined && value !== false)
      .map(([name, value, hint]) => html`<div key=${name}><dt>${name}${hint && html` <${Hint}>${hint}<//>`}</dt><dd>${value}</dd></div>`)}
  </dl>`;

/** The numbers of a bill, as lists of name, value, meaning, whether it is more than nothing, and tone. */
export const Figures = ({ of }) =>
  html`<div class="figures">
    ${of.map(([name, value, , isSome, tone = ""]) => isSome && html`<div key=${name} class=${`figure ${tone}`}><span>${name}</span> <strong>${value}</strong></div>`)}
    <${Hint}>${of.map(([name, value, note]) => html`<p key=${name}><b>${name} ${value}</b> ${note}</p>`)}<//>
  </div>`;

/** A table. In a narrow window the cells of a row stand below each other. `rows` are lists of cells. */
export const Table = ({ label, columns, rows }) =>
  html`<table class="table" role="table" aria-label=${label}>
    <thead role="rowgroup"><tr role="row">${columns.map((name) => html`<th key=${name} role="columnheader" scope="col">${name}</th>`)}</tr></thead>
    <tbody role="rowgroup">
      ${rows.map((cells, row) => html`<tr key=${row} role="row">${cells.map((cell, at) => html`<td key=${at} role="cell" data-label=${columns[at]}>${cell}</td>`)}</tr>`)}
    </tbody>
  </table>`;

/** The buttons that turn pages of `page` things each; `first` is the first that is shown of all. */
export const Pages = ({ first, page, of, onTurn }) =>
  of > page &&
  html`<div class="row">
    <button type="button" disabled=${first === 0} onClick=${() => onTurn(Math.max(0, first - page))}>${t("earlier")}</button>
    <span class="dim" role="status">${t("range", { from: first + 1, to: Math.min(first + page, of), of })}</span>
    <button type="button" disabled=${first + page >= of} onClick=${() => onTurn(first + page)}>${t("later")}</button>
  </div>`;

/** A text, unchanged. A long text is cut until the user asks for all of it. */
export function Words({ text, label, tall = false }) {
  const [whole, setWhole] = useState(false);
  const cut = !whole && text.length > LONG;
  return html`<div class="words">
    <pre class=${tall ? "tall" : ""} tabindex="0" role="group" aria-label=${label} dir="auto">${cut ? text.slice(0, LONG) : text}</pre>
    ${cut &&
    html`<button type="button" class="quiet" onClick=${() => setWhole(true)}>
      ${t("showAll", { n: text.length })}
    </button>`}
  </div>`;
}

export function Copy({ text, label }) {
  const [done, setDone] = useState("");
  const copy = async () => {
    const word = await navigator.clipboard?.writeText(text).then(
      () => "copied",
      () => "copyFailed",
    );
    setDone(word ?? "copyFailed"); // a page without TLS has no clipboard
    announce(t(word ?? "copyFailed"));
  };
  return html`<button type="button" class="quiet" onClick=${copy}>${done ? t(done) : (label ?? t("copy"))}</button>`;
}

export function saveAs(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

export function Save({ text, name, type = "text/plain", label }) {
  const save = () => saveAs(new Blob([text], { type: `${type};charset=utf-8` }), name);
  return html`<button type="button" class="quiet" onClick=${save}>${label ?? t("save")}</button>`;
}

/**
 * A dialog over the page. The browser keeps the focus inside it, and returns the focus to its opener afterwards. With
 * `keep` only a button of the dialog closes it, since Esc would lose a secret that is shown once.
 */
export function Dialog({ title, onClose, keep = false, children }) {
  const element = useRef(null);
  useLayoutEffect(() => {
    const dialog = element.current;
    const opener = document.activeElement;
    if (!dialog.open) dialog.showModal();
    if (keep) window.addEventListener("beforeunload", stop);
    return () => {
      window.removeEventListener("beforeunload", stop);
      dialog.close();
      giveBack(opener);
    };
  }, []);
  const escape = (event) => keep && event.key === "Escape" && stop(event);
  const cancel = (event) => (stop(event), keep || onClose());
  // Some browsers close a dialog although `escape` and `cancel` prevent it. With `keep` the dialog then opens again.
  const closed = () => keep && element.current?.isConnected && element.current.showModal();
  return html`<dialog ref=${element} aria-labelledby="dialog-title" onKeyDown=${escape} onCancel=${cancel} onClose=${closed}>
    <h2 id="dialog-title">${title}</h2>
    ${children}
  </dialog>`;
}

const stop = (event) => event.preventDefault();

const OPENER_MS = 5000; // for so long an opener may still vanish, since the list behind the dialog is read again

function giveBack(opener) {
  const isLost = () => [null, document.body].includes(document.activeElement);
  const main = () => document.getElementById("main")?.focus({ preventScroll: true });
  const watch = new MutationObserver(() => {
    if (opener.isConnected) return;
    watch.disconnect();
    if (isLost()) main();
  });
  setTimeout(() => {
    if (isLost() && opener !== document.body && opener?.isConnected) opener.focus();
    if (isLost()) main();
    else if (document.activeElement === opener) watch.observe(document.body, { childList: true, subtree: true });
  });
  setTimeout(() => watch.disconnect(), OPENER_MS);
}

/** A dialog that asks before `act`, whose error it shows. `back` is the label of the button that does nothing. */
export function Confirm({ title, children, verb, act, onClose, back = t("back"), danger = false }) {
  const [state, setState] = useState({ busy: false, error: null });
  const confirm = async () => {
    setState({ busy: true, error: null });
    try {
      await act();
      onClose();
    } catch (error) {
      setState({ busy: false, error });
    }
  };
  return html`<${Dialog} title=${title} onClose=${onClose}>
    ${children}
    <${Trouble} error=${state.error} />
    <div class="row end">
      <button type="button" onClick=${onClose}>${back}</button>
      <button type="button" class=${danger ? "danger" : "primary"} aria-disabled=${state.busy} onClick=${state.busy ? stop : confirm}>${verb}</button>
    </div>
  <//>`;
}

let tell = () => {};

/** Lets screen readers speak a text. */
export const announce = (text) => tell(text);

export function Announcer() {
  const [text, setText] = useState("");
  tell = setText;
  return html`<p class="sr" role="status" aria-live="polite">${text}</p>`;
}

/** A task's name, from `name` or its metadata; '' without a name. */
export function nameOf({ name, metadata }) {
  const own = name ?? metadata.name ?? metadata.title ?? metadata.label;
  return typeof own === "string" ? shorten(own, 80) : "";
}

export const shortId = (id) => id.slice(-12);
export const titleOf = (task) => nameOf(task) || shortId(task.id);

export function useTitle(text) {
  useEffect(() => void (document.title = `${text} · onceover`));
}

export const shorten = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);

/** How many chunks of a task, or lines of a batch, are done. */
export const chunksOf = ({ kind, progress }) =>
  count(kind ? "linesDone" : "chunksDone", progress.total, { done: progress.completed, total: progress.total });

export function Waiting({ wait }) {
  if (!wait) return null;
  const ahead = wait.ahead ? ` · ${count("ahead", wait.ahead)}` : "";
  return html`<span class="waiting">
    ${t(`waiting.${wait.reason}`)}${ahead}${Date.parse(wait.until) > now() && html` · ${t("until")} <${Time} at=${wait.until} />`}
  </span>`;
}
