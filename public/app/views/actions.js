// What can be done with a task, each after a question that says what it means.
import { html, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { count, t } from "../base/i18n.js";
import { announce, Confirm } from "../base/parts.js";
import { go } from "../base/route.js";

export function Actions({ task, again }) {
  const [asking, setAsking] = useState("");
  const [most, setMost] = useState("");
  const path = `/api/tasks/${encodeURIComponent(task.id)}`;
  const close = () => setAsking("");
  const { usage, progress } = task;
  const left = Math.max(0, usage.minimumCalls - progress.completed);
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
    erase: async () => {
      await call("DELETE", path);
      announce(t("erased"));
      go("tasks");
    },
  };
  const can = { cancel: !task.terminal, retry: ["failed", "cancelled"].includes(task.status), erase: true };
  return html`<div class="row">
    ${Object.keys(acts).map(
      (name) =>
        can[name] &&
        html`<button key=${name} type="button" class=${name === "erase" ? "danger" : ""} onClick=${() => setAsking(name)}>${t(`act.${name}`)}</button>`,
    )}
    ${asking &&
    html`<${Confirm} title=${t(`act.${asking}`)} verb=${t(asking === "cancel" ? "act.cancelGo" : `act.${asking}`)} back=${asking === "cancel" ? t("act.cancelNot") : undefined} danger=${asking !== "retry"} act=${acts[asking]} onClose=${close}>
      <p>${asking === "retry" ? count("act.retryHint", left) : t(`act.${asking}Hint`)}</p>
      ${asking === "retry" &&
      html`<label for="most">${t("field.maxModelCalls")}</label>
        <input id="most" inputmode="numeric" value=${most} placeholder=${task.maxModelCalls ?? ""} required=${isSpent} onInput=${(event) => setMost(event.target.value)} />
        <p class="hint">${t("act.budget", { least: usage.modelCalls + left })}</p>`}
    <//>`}
  </div>`;
}
