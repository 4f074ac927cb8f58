// The actions on a task. A dialog explains each before it begins.
import { html, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { count, t } from "../base/i18n.js";
import { announce, Confirm, Trouble } from "../base/parts.js";
import { draft, mayWrite } from "../base/prefs.js";
import { go, taskPath } from "../base/route.js";

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

/** The acts that a task allows; first the one that helps most. */
export function actsOf({ terminal, status, gaps, error }) {
  if (!terminal) return ["cancel", "again", "erase"];
  if (status === "completed") return gaps?.length > 0 ? ["gaps", "again", "erase"] : ["again", "erase"];
  const helps = !error || error.retryable || error.code === "budget_exhausted";
  return helps ? ["retry", "again", "erase"] : ["again", "retry", "erase"];
}

/** Buttons for the acts with these names on a task, or on a batch as its view has read it. */
export function Actions({ task, again, names, primary = false }) {
  const [asking, setAsking] = useState("");
  const [most, setMost] = useState("");
  const [error, setError] = useState(null);
  const path = taskPath(task.id);
  const { usage, progress, kind, of } = task;
  const gaps = task.status === "completed" ? (task.gaps?.length ?? 0) : 0;
  const isMerged = task.request.reduce === "merge" && progress.total > 1;
  // A retry of gaps calls the model for each gap and, with `merge`, once more. The retry of gaps or of a batch is a new
  // task with a bill of 0.
  const isNew = kind || gaps > 0;
  const left = kind ? of.request_counts.failed : gaps > 0 ? gaps + (isMerged ? 1 : 0) : Math.max(0, usage.minimumCalls - progress.completed);
  const least = isNew ? left : usage.modelCalls + left;
  const isWriting = Boolean(draft.read()?.input); // a text that "Run again" would replace
  const isSpent = task.error?.code === "budget_exhausted";
  const retry = async () => {
    const { data } = await call("POST", `${path}/retry`, { body: most ? { maxModelCalls: Number(most) } : {} });
    announce(t(isNew ? "accepted" : "status.pending"));
    if (isNew) go("task", data.id);
    else again();
  };
  const acts = {
    cancel: async () => {
      await call("POST", `${kind ? `/v1/batches/${encodeURIComponent(of.id)}` : path}/cancel`);
      announce(t("status.cancelled"));
      again();
    },
    retry,
    gaps: retry,
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
  const begin = (name) => {
    if (name !== "again" || isWriting) setAsking(name);
    else acts.again().catch(setError);
  };
  if (!mayWrite()) return null;
  const isRetry = ["retry", "gaps"].includes(asking);
  const label = (name) => (kind && name === "retry" ? t("batch.retry") : t(`act.${name}`));
  const verbs = { cancel: kind ? "batch.cancelGo" : "act.cancelGo", ...(kind && { retry: "batch.retryGo" }) };
  const hints = {
    cancel: () => t("act.cancelHint"),
    retry: () => (kind ? count("batch.retryHint", left) : t("act.retryHint")),
    gaps: () => count("act.gapsHint", gaps),
    again: () => t("act.againHint"),
    erase: () => t(kind ? "batch.eraseHint" : "act.eraseHint"),
  };
  return html`<div class="row">
    ${names.map((name) => html`<button key=${name} type="button" class=${name === "erase" ? "danger" : primary ? "primary" : ""} onClick=${() => begin(name)}>${label(name)}</button>`)}
    <${Trouble} error=${error} />
    ${asking &&
    html`<${Confirm} title=${label(asking)} verb=${verbs[asking] ? t(verbs[asking]) : label(asking)} back=${asking === "cancel" ? t("act.cancelNot") : undefined} danger=${["cancel", "erase"].includes(asking)} act=${acts[asking]} onClose=${() => setAsking("")}>
      <p>${hints[asking]()}</p>
      ${isRetry &&
      html`<p class="big">${count("act.least", left)}</p>
        ${gaps > 0 && isMerged && html`<p class="hint">${t("act.gapsMerged")}</p>`}
        <label for="most">${t("field.maxModelCalls")}</label>
        <input id="most" inputmode="numeric" value=${most} placeholder=${task.maxModelCalls ?? ""} required=${isSpent} onInput=${(event) => setMost(event.target.value)} />
        <p class="hint">${t(kind ? "batch.retryBudget" : "act.budget", { least })}</p>`}
    <//>`}
  </div>`;
}
