// The dialog that retries or cancels many tasks. The dialog first shows the number of tasks, and then acts on these
// tasks and on no newer ones.
import { html, useEffect, useMemo, useState } from "../base/dom.js";
import { call, now } from "../base/api.js";
import { RETRIED_BY_CODE } from "./codes.js";
import { absolute, count, t } from "../base/i18n.js";
import { announce, Dialog, Trouble } from "../base/parts.js";
import { whose } from "../base/prefs.js";

/** `code` is the error code that is chosen first. */
export function Bulk({ kind, code = "", after, before, onChange, onClose }) {
  const [choice, setChoice] = useState(kind === "retry" && RETRIED_BY_CODE.includes(code) ? code : "");
  const [plan, setPlan] = useState(null);
  const [state, setState] = useState({ busy: false, error: null, done: null });
  // A task that is submitted while the dialog is open is not touched.
  const until = useMemo(() => before || new Date(now()).toISOString(), [before]);
  const body = {
    createdBefore: until,
    ...(after && { createdAfter: after }),
    ...(choice && (kind === "retry" ? { errorCode: choice } : { status: choice })),
  };
  useEffect(() => {
    let current = true;
    setPlan(null);
    call("POST", `/api/tasks/${kind}`, { body: { ...body, dryRun: true } }).then(
      ({ data }) => current && (setPlan(data), setState({ busy: false, error: null, done: null })),
      (error) => current && setState({ busy: false, error, done: null }),
    );
    return () => (current = false);
  }, [kind, choice, until]);
  const act = async () => {
    let done = 0;
    const begun = whose(); // the dialog may be left meanwhile, and another tenant or key be chosen: its tasks are not meant
    setState({ busy: true, error: null, done });
    try {
      // One bulk request changes at most 100 tasks. The loop of a bulk retry stops after as many tasks as were counted,
      // because a retried task that fails again would be found again.
      for (let more = true; more && done < plan.tasks && whose() === begun; ) {
        const { data } = await call("POST", `/api/tasks/${kind}`, { body });
        const here = data.retried ?? data.cancelled;
        done += here;
        more = data.more && here > 0;
        setState({ busy: true, error: null, done });
        onChange(); // the list behind the dialog is to show it
      }
      announce(count(`bulk.${kind}Done`, done));
      setState({ busy: false, error: null, done, ended: true });
    } catch (error) {
      setState({ busy: false, error, done });
    }
  };
  const figures = plan && (kind === "retry" ? count("bulk.retryPlan", plan.tasks, { most: plan.maximumCalls }) : count("bulk.cancelPlan", plan.tasks));
  const verb = plan ? count(`bulk.${kind}Go`, plan.tasks) : t(`bulk.${kind}`);
  return html`<${Many} title=${t(`bulk.${kind}`)} name=${kind} verb=${verb} isReady=${plan?.tasks > 0} state=${state} onAct=${act} onClose=${onClose}>
    <label for="bulk-choice">${t(kind === "retry" ? "search.code" : "column.status")}</label>
    <select id="bulk-choice" value=${choice} disabled=${state.busy || state.ended} onChange=${(event) => setChoice(event.target.value)}>
      <option value="">${t("all")}</option>
      ${(kind === "retry" ? RETRIED_BY_CODE : ["pending", "processing"]).map(
        (name) => html`<option key=${name} value=${name}>${kind === "retry" ? name : t(`status.${name}`)}</option>`,
      )}
    </select>
    <p class="hint">
      ${after ? t("bulk.between", { after: absolute(after), before: absolute(until) }) : t("bulk.until", { before: absolute(until) })}
    </p>
    <p class="big" aria-live="polite">${figures ?? (state.error ? "" : t("bulk.counting"))}${plan?.more && ` ${t("bulk.more")}`}</p>
    ${kind === "retry" && html`<p class="hint">${t("bulk.retryHint")}</p>`}
  <//>`;
}

/** The dialog of an act on many tasks. `state` is {busy, done, error, ended}; `done` counts the tasks that it changed. */
export const Many = ({ title, name, verb, isReady = true, state: { busy, done, error, ended }, onAct, onClose, children }) =>
  html`<${Dialog} title=${title} onClose=${onClose}>
    ${children}
    ${done !== null && html`<p role="status">${count(`bulk.${name}Done`, done)}</p>`}
    <${Trouble} error=${error} />
    <div class="row end">
      <button type="button" onClick=${onClose}>${t(ended ? "close" : "back")}</button>
      ${!ended && html`<button type="button" class=${name === "retry" ? "primary" : "danger"} disabled=${!isReady || busy} onClick=${onAct}>${verb}</button>`}
    </div>
  <//>`;
