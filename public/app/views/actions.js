// The actions on a task, such as cancelling. Before each action a dialog explains the action and asks whether to go on.
import { html, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { count, t } from "../base/i18n.js";
import { announce, Confirm, Trouble } from "../base/parts.js";
import { draft, mayWrite } from "../base/prefs.js";
import { go } from "../base/route.js";

/** The fields of a new task that asks for the same as this one, over this text. */
export function fieldsOf({ request, metadata, maxModelCalls }, input) {
  const { model, reduce, instructions, chunk, maxOutputTokens, temperature, modelOptions } = request;
  const json = (value) => (Object.keys(value).length > 0 ? JSON.stringify(value) : "");
  const texts = { ...chunk, maxOutputTokens, temperature, maxModelCalls };
  const numbers = Object.entries(texts).map(([name, value]) => [name, value === null ? "" : String(value)]);
  return { input, instructions, reduce, model, ...Object.fromEntries(numbers), modelOptions: json(modelOptions), metadata: json(metadata) };
}

export function Actions({ task, again }) {
  const [asking, setAsking] = useState("");
  const [most, setMost] = useState("");
  const path = `/api/tasks/${encodeURIComponent(task.id)}`;
  const close = () => setAsking("");
  const { usage, progress } = task;
  const left = Math.max(0, usage.minimumCalls - progress.completed);
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
  const can = { cancel: !task.terminal, retry: ["failed", "cancelled"].includes(task.status), again: true, erase: true };
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
    html`<${Confirm} title=${t(`act.${asking}`)} verb=${t(asking === "cancel" ? "act.cancelGo" : `act.${asking}`)} back=${asking === "cancel" ? t("act.cancelNot") : undefined} danger=${!["retry", "again"].includes(asking)} act=${acts[asking]} onClose=${close}>
      <p>${asking === "retry" ? count("act.retryHint", left) : t(`act.${asking}Hint`)}</p>
      ${asking === "retry" &&
      html`<label for="most">${t("field.maxModelCalls")}</label>
        <input id="most" inputmode="numeric" value=${most} placeholder=${task.maxModelCalls ?? ""} required=${isSpent} onInput=${(event) => setMost(event.target.value)} />
        <p class="hint">${t("act.budget", { least: usage.modelCalls + left })}</p>`}
    <//>`}
  </div>`;
}
