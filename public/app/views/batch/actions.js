// The actions on a batch. Before each action a dialog explains the action and asks whether to go on.
import { html, useState } from "../../base/dom.js";
import { call } from "../../base/api.js";
import { count, t } from "../../base/i18n.js";
import { announce, Confirm } from "../../base/parts.js";
import { mayWrite } from "../../base/prefs.js";
import { go, taskPath } from "../../base/route.js";
import { hasEnded } from "./read.js";

export function BatchActions({ task, again }) {
  const [asking, setAsking] = useState("");
  const [most, setMost] = useState("");
  const { of } = task;
  const left = of.request_counts.failed;
  const acts = {
    cancel: async () => {
      await call("POST", `/v1/batches/${encodeURIComponent(of.id)}/cancel`);
      announce(t("status.cancelled"));
      again();
    },
    retry: async () => {
      const { data } = await call("POST", `${taskPath(task.id)}/retry`, { body: most ? { maxModelCalls: Number(most) } : {} });
      announce(t("accepted"));
      go("task", data.id);
    },
    erase: async () => {
      await call("DELETE", taskPath(task.id));
      announce(t("erased"));
      go("tasks");
    },
  };
  // If the batch's file has faults, no line can be retried: the user has to correct the file.
  const can = { cancel: !task.terminal, retry: hasEnded(of) && of.in_progress_at !== null && left > 0, erase: true };
  if (!mayWrite()) return null;
  return html`<div class="row">
    ${Object.keys(acts).map(
      (name) =>
        can[name] &&
        html`<button key=${name} type="button" class=${name === "erase" ? "danger" : ""} onClick=${() => setAsking(name)}>${t(`batch.${name}`)}</button>`,
    )}
    ${asking &&
    html`<${Confirm} title=${t(`batch.${asking}`)} verb=${t(asking === "retry" ? "batch.retryGo" : asking === "cancel" ? "batch.cancelGo" : "batch.erase")} back=${asking === "cancel" ? t("act.cancelNot") : undefined} danger=${asking !== "retry"} act=${acts[asking]} onClose=${() => setAsking("")}>
      <p>${asking === "retry" ? count("batch.retryHint", left) : t(`batch.${asking}Hint`)}</p>
      ${asking === "retry" &&
      html`<p class="big">${count("act.gapsCost", left)}</p>
        <label for="most">${t("field.maxModelCalls")}</label>
        <input id="most" inputmode="numeric" value=${most} onInput=${(event) => setMost(event.target.value)} />
        <p class="hint">${t("batch.retryBudget", { least: left })}</p>`}
    <//>`}
  </div>`;
}
