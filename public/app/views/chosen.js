// The actions on the tasks that are ticked in the list: one request for each task, once a dialog has asked.
import { html, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { Many } from "./bulk.js";
import { count, t } from "../base/i18n.js";
import { announce } from "../base/parts.js";
import { whose } from "../base/prefs.js";
import { taskPath } from "../base/route.js";

/** For each act: to which tasks it applies, and how its request is sent. */
const ACTS = {
  cancel: { takes: (task) => !task.terminal, send: (id) => call("POST", `${taskPath(id)}/cancel`) },
  retry: {
    takes: (task) => ["failed", "cancelled"].includes(task.status) && !["budget_exhausted", "cost_exhausted"].includes(task.error?.code) && task.progress.total !== null,
    send: (id) => call("POST", `${taskPath(id)}/retry`, { body: {} }),
  },
  erase: { takes: () => true, send: (id) => call("DELETE", taskPath(id)) },
};
const GONE = [404, 409]; // erased or ended since the list was read: there is nothing left to do

/** The least number of further calls that the tasks need to finish. */
export const leastCalls = (tasks) => tasks.reduce((sum, { usage, progress }) => sum + Math.max(0, usage.minimumCalls - progress.completed), 0);

/** The bar above the list. `onMany` begins an act on all failed or all unfinished tasks instead of the ticked ones. */
export function Chosen({ tasks, chosen, onChoose, onChange, onMany }) {
  const [asking, setAsking] = useState("");
  const picked = tasks.filter(({ id }) => chosen.has(id));
  return html`<div class="row chosen" role="group" aria-label=${t("chosen.label")}>
    <strong>${count("chosen.count", picked.length)}</strong>
    ${Object.entries(ACTS).map(
      ([name, { takes }]) => picked.some(takes) && html`<button key=${name} type="button" class=${name === "retry" ? "" : "danger"} onClick=${() => setAsking(name)}>${t(`chosen.${name}`)}</button>`,
    )}
    <button type="button" class="quiet" onClick=${() => onChoose(new Set())}>${t("chosen.none")}</button>
    ${["retry", "cancel"].map((kind) => html`<button key=${`many ${kind}`} type="button" class="quiet" onClick=${() => onMany(kind)}>${t(`bulk.${kind}`)}</button>`)}
    ${asking && html`<${Question} name=${asking} picked=${picked} onChange=${onChange} onClose=${() => setAsking("")} onDone=${() => onChoose(new Set())} />`}
  </div>`;
}

function Question({ name, picked, onChange, onClose, onDone }) {
  const [tasks] = useState(() => picked.filter(ACTS[name].takes));
  const [others] = useState(picked.length - tasks.length);
  const [state, setState] = useState({ busy: false, done: null, error: null });
  const act = async () => {
    const begun = whose(); // another tenant or key may be chosen meanwhile: its tasks are not meant
    let [done, error] = [0, null];
    for (const { id } of tasks) {
      if (whose() !== begun) break;
      setState({ busy: true, done, error: null });
      try {
        await ACTS[name].send(id);
        done += 1;
      } catch (trouble) {
        if (!GONE.includes(trouble.status)) error ??= trouble;
        if ([0, 401, 403, 429, 503].includes(trouble.status)) break; // the others would be refused too
      }
    }
    setState({ busy: false, done, error, ended: true });
    announce(count(`bulk.${name}Done`, done));
    onChange();
  };
  const close = () => (state.ended && onDone(), onClose());
  return html`<${Many} title=${t(`chosen.${name}`)} name=${name} verb=${count(`bulk.${name}Go`, tasks.length)} state=${state} onAct=${act} onClose=${close}>
    <p class="big">${count(name === "retry" ? "chosen.retryPlan" : `bulk.${name}Plan`, tasks.length, { least: leastCalls(tasks) })}</p>
    ${others > 0 && html`<p class="hint">${count("chosen.others", others)}</p>`}
    <p class="hint">${t(name === "erase" ? "chosen.eraseHint" : `act.${name}Hint`)}${name === "retry" && tasks.some(({ kind }) => kind) && ` ${t("chosen.retryBatches")}`}</p>
  <//>`;
}
