// The webhook deliveries about a task, if the deployment has webhooks.
import { html, useEffect, useRef, useState } from "../base/dom.js";
import { call, now } from "../base/api.js";
import { count, t, whole } from "../base/i18n.js";
import { announce, Card, Time, Trouble } from "../base/parts.js";
import { mayWrite } from "../base/prefs.js";
import { useRefresh } from "../base/refresh.js";
import { taskPath } from "../base/route.js";

const SOON_MS = 20_000; // for so long after something was sent its answer is looked for
const SOON_SECONDS = 2;
const ROWS = 25; // a row for each attempt, at most

/** `version` is when the task was read: a new one makes the page read the deliveries again. */
export function Deliveries({ id, version }) {
  const sent = useRef(now()); // a task may have ended just now
  const state = useRefresh(`deliveries ${id}`, async (signal) => {
    const { data } = await call("GET", `${taskPath(id)}/deliveries`, { signal });
    const open = data.deliveries.some(({ status }) => status === "pending");
    return { data: data.deliveries, active: open && now() - sent.current < SOON_MS, after: SOON_SECONDS, rows: ROWS, done: !open };
  });
  useEffect(() => void (state.at && state.again()), [version]);
  const [error, setError] = useState(null);
  const again = async (delivery) => {
    try {
      await call("POST", `/api/deliveries/${encodeURIComponent(delivery)}/redeliver`);
      sent.current = now();
      announce(t("deliveries.again"));
      setError(null);
      state.again();
    } catch (error) {
      setError(error);
    }
  };
  if (!state.error && !state.data?.length) return null;
  return html`<${Card} title=${t("deliveries.title")}>
    <${Trouble} error=${state.error ?? error} />
    ${(state.data ?? []).map((delivery) => html`<${Delivery} key=${delivery.id} of=${delivery} again=${() => again(delivery.id)} />`)}
  <//>`;
}

const TONES = { delivered: "completed", pending: "processing", gone: "failed", exhausted: "failed" };

const Delivery = ({ of: { type, status, endpoint, tries, attempts, nextAttemptAt }, again }) =>
  html`<div class="delivery">
    <div class="row">
      <strong>${type}</strong> <span class=${`chip is-${TONES[status]}`}>${t(`delivery.${status}`)}</span> <code>${endpoint}</code>
      ${mayWrite() && html`<button type="button" class="quiet" onClick=${again}>${t("deliveries.redeliver")}</button>`}
    </div>
    <p class="hint">
      ${count("deliveries.tries", tries, { shown: attempts.length })}
      ${nextAttemptAt && html` · ${t("deliveries.next")} <${Time} at=${nextAttemptAt} />`}
    </p>
    <ul>
      ${attempts.map(
        ({ at, status: answer, milliseconds, failure }, number) => html`<li key=${number}>
          <${Time} at=${at} /> · <code>${answer ?? "–"}</code> · ${whole(milliseconds)} ms${failure && html` · <code>${failure}</code>`}
        </li>`,
      )}
    </ul>
  </div>`;
