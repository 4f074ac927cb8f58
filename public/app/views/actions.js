// The actions on a task, such as cancelling. Before each action a dialog explains the action and asks whether to go on.
import { html, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { count, t } from "../base/i18n.js";
import { announce, Confirm, Trouble } from "../base/parts.js";
import { draft, mayWrite } from "../base/prefs.js";
import { go } from "../base/route.js";

/** Returns the fields of the form for a new task with the same request as this task, over the given text. */
export function fieldsOf({ request, metadata, maxModelCalls }, input) {
  const { model, reduce, instructions, chunk, maxOutputTokens, temperature, modelOptions, join = {} } = request;
  const json = (value) => (Object.keys(value).length > 0 ? JSON.stringify(value) : "");
  const gaps = request.onChunkFailure === "gap";
  const texts = { ...chunk, maxOutputTokens, temperature, maxModelCalls, maxGapShare: gaps ? request.maxGapShare : null };
  const shape = { outputSchema: request.outputSchema ? JSON.stringify(request.outputSchema, null, 2) : "", strict: request.strict ?? true, join: json(join), gaps };
  const numbers = Object.entries(texts).map(([name, value]) => [name, value === null ? "" : String(value)]);
  return { input, instructions, reduce, model, ...Object.fromEntries(numbers), ...shape, modelOptions: json(modelOptions), metadata: json(metadata) };
}

export function Actions({ task, again }) {
  const [asking, setAsking] = useState("");
  const [most, setMost] = useState("");
  const path = `/api/tasks/${encodeURIComponent(task.id)}`;
  const close = () => setAsking("");
  const { usage, progress } = task;
  const gaps = task.status === "completed" ? (task.gaps?.length ?? 0) : 0;
  const isMerged = task.request.reduce === "merge" && progress.total > 1;
  // A retry of gaps calls the model for each gap and, with `merge`, once more. The retry is a new task with a bill of
  // 0.
  const left = gaps > 0 ? gaps + (isMerged ? 1 : 0) : Math.max(0, usage.minimumCalls - progress.completed);
  const least = gaps > 0 ? left : usage.modelCalls + left;
  const isWriting = Boolean(draft.read()?.input); // a text that "Run again" would replace
  const isSpent = task.error?.code === "budget_exhausted";
  const acts = {
    cancel: async () => {
      await call("POST", `${path}/cancel`);
      announce(t("status.cancelled"));
      again();
    },
    retry: async () => {
      await call("POST", `${path}/retry`, { body: most ? { maxModelCalls: Number(most) } : {} });
      announce(t("status.pending"));
      again();
    },
    gaps: async () => {
      const { data } = await call("POST", `${path}/retry`, { body: most ? { maxModelCalls: Number(most) } : {} });
      announce(t("accepted"));
      go("task", data.id);
    },
    again: async () => {
      const { data } = await call("GET", `${path}?include=input`);
      draft.write(fieldsOf(data, data.input ?? ""));
      announce(t(data.input === null ? "act.againGone" : "act.againDone"));
      go("submit");
    },
    erase: async () => {
      await call("DELETE", path);
      announce(t("erased"));
      go("tasks");
    },
  };
  const can = { cancel: !task.terminal, retry: ["failed", "cancelled"].includes(task.status), gaps: gaps > 0, again: true, erase: true };
  const [error, setError] = useState(null);
  const begin = (name) => {
    if (name !== "again" || isWriting) setAsking(name);
    else acts.again().catch(setError);
  };
  if (!mayWrite()) return null;
  return html`<div class="row">
    ${Object.keys(acts).map(
      (name) =>
        can[name] &&
        html`<button key=${name} type="button" class=${name === "erase" ? "danger" : ""} onClick=${() => begin(name)}>${t(`act.${name}`)}</button>`,
    )}
    <${Trouble} error=${error} />
    ${asking &&
    html`<${Confirm} title=${t(`act.${asking}`)} verb=${t(asking === "cancel" ? "act.cancelGo" : `act.${asking}`)} back=${asking === "cancel" ? t("act.cancelNot") : undefined} danger=${!["retry", "gaps", "again"].includes(asking)} act=${acts[asking]} onClose=${close}>
      <p>${asking === "retry" ? count("act.retryHint", left) : asking === "gaps" ? count("act.gapsHint", gaps) : t(`act.${asking}Hint`)}</p>
      ${asking === "gaps" && html`<p class="big">${count("act.gapsCost", left)}</p>${isMerged && html`<p class="hint">${t("act.gapsMerged")}</p>`}`}
      ${["retry", "gaps"].includes(asking) &&
      html`<label for="most">${t("field.maxModelCalls")}</label>
        <input id="most" inputmode="numeric" value=${most} placeholder=${task.maxModelCalls ?? ""} required=${isSpent} onInput=${(event) => setMost(event.target.value)} />
        <p class="hint">${t(asking === "gaps" ? "act.gapsBudget" : "act.budget", { least })}</p>`}
    <//>`}
  </div>`;
}
