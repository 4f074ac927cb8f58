// What endpoints were told of a task, where the deployment has webhooks.
import { html, useEffect, useState } from "./dom.js";
import { call } from "./api.js";
import { count, t, whole } from "./i18n.js";
import { announce, Time, Trouble } from "./parts.js";

export function Deliveries({ id, terminal }) {
  const [state, setState] = useState({ deliveries: [], error: null });
  const [turn, setTurn] = useState(0);
  useEffect(() => {
    let current = true;
    if (!terminal) return undefined;
    call("GET", `/api/tasks/${encodeURIComponent(id)}/deliveries`).then(
      ({ data }) => current && setState({ deliveries: data.deliveries, error: null }),
      // A deployment without webhooks has no such path.
      (error) => current && setState({ deliveries: [], error: error.status === 404 ? null : error }),
    );
    return () => (current = false);
  }, [id, terminal, turn]);
  const again = async (delivery) => {
    try {
      await call("POST", `/api/deliveries/${encodeURIComponent(delivery)}/redeliver`);
      announce(t("deliveries.again"));
      setTurn(turn + 1);
    } catch (error) {
      setState((former) => ({ ...former, error }));
    }
  };
  if (state.deliveries.length === 0 && !state.error) return null;
  return html`<section class="card" aria-labelledby="deliveries-title">
    <h2 id="deliveries-title">${t("deliveries.title")}</h2>
    <${Trouble} error=${state.error} />
    ${state.deliveries.map((delivery) => html`<${Delivery} key=${delivery.id} of=${delivery} again=${() => again(delivery.id)} />`)}
  </section>`;
}

const Delivery = ({ of: { type, status, endpoint, tries, attempts, nextAttemptAt }, again }) =>
  html`<div class="delivery">
    <div class="row">
      <strong>${type}</strong> <span>${t(`delivery.${status}`)}</span> <code>${endpoint}</code>
      <button type="button" class="quiet" onClick=${again}>${t("deliveries.redeliver")}</button>
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
