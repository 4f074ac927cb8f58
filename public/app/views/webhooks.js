// The list of the tenant's webhook endpoints, with actions that add, rotate, test and delete one. The page hides the
// list if the deployment has no webhooks.
import { html, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { t } from "../base/i18n.js";
import { announce, Card, Confirm, Freshness, Notice, Time, Trouble } from "../base/parts.js";
import { useRefresh } from "../base/refresh.js";
import { Boxes, Field, reveal } from "./keys.js";

const PATH = "/v1/webhook_endpoints";
const EVENTS = [
  "task.completed",
  "task.failed",
  "task.cancelled",
  "response.completed",
  "response.failed",
  "response.cancelled",
  "response.incomplete",
  "batch.completed",
  "batch.failed",
  "batch.expired",
  "batch.cancelled",
];

export function Webhooks() {
  const state = useRefresh("webhooks", async (signal) => {
    try {
      const { data } = await call("GET", `${PATH}?limit=100`, { signal });
      return { data: data.data, active: false, done: true };
    } catch (error) {
      if (error.status !== 404 && error.status !== 503) throw error;
      return { data: null, active: false, done: true };
    }
  });
  const [asked, setAsked] = useState(null); // {act, endpoint}
  const [said, setSaid] = useState({ text: "", error: null });
  if (state.at && state.data === null && !state.error) return null;
  const at = (endpoint) => `${PATH}/${encodeURIComponent(endpoint.id)}`;
  const test = async (endpoint) => {
    try {
      const { data } = await call("POST", `${at(endpoint)}/test`, { body: {} });
      const text = t("webhooks.answered", { status: data.status_code });
      setSaid({ text, error: null });
      announce(text);
    } catch (error) {
      setSaid({ text: "", error });
    }
  };
  const acts = {
    rotate: async () => {
      const { data } = await call("POST", `${at(asked.endpoint)}/rotate_secret`, { body: { keep_old_secret_active_for_24_hours: true } });
      reveal(t("webhooks.secret"), data.signing_secret);
      state.again();
    },
    remove: async () => {
      await call("DELETE", at(asked.endpoint));
      announce(t("webhooks.removed"));
      state.again();
    },
  };
  return html`<${Card} title=${t("webhooks.title")} beside=${html`<${Freshness} state=${state} />`}>
    <${Trouble} error=${state.error ?? said.error} />
    ${said.text && html`<${Notice}>${said.text}<//>`}
    ${state.data?.length === 0 && html`<p class="dim">${t("webhooks.none")}</p>`}
    <ul class="rows">
      ${(state.data ?? []).map(
        (endpoint) => html`<li key=${endpoint.id}>
          <span><strong><bdi>${endpoint.name}</bdi></strong> <span class=${`chip is-${endpoint.status === "enabled" ? "completed" : "failed"}`}>${t(`webhooks.${endpoint.status}`)}</span></span>
          <span class="wrap"><bdi>${endpoint.url}</bdi></span>
          <span class="dim">${endpoint.event_types.join(", ")} · <${Time} at=${new Date(endpoint.created_at * 1000).toISOString()} /></span>
          <span class="row">
            <button type="button" onClick=${() => test(endpoint)}>${t("webhooks.test")}</button>
            <button type="button" onClick=${() => setAsked({ act: "rotate", endpoint })}>${t("webhooks.rotate")}</button>
            <button type="button" class="danger" onClick=${() => setAsked({ act: "remove", endpoint })}>${t("webhooks.remove")}</button>
          </span>
        </li>`,
      )}
    </ul>
    ${state.data && state.error?.status !== 403 && html`<${NewEndpoint} onMade=${(text) => (reveal(t("webhooks.secret"), text), state.again())} />`}
    ${asked &&
    html`<${Confirm} title=${t(`webhooks.${asked.act}`)} verb=${t(`webhooks.${asked.act}`)} danger=${asked.act === "remove"} act=${acts[asked.act]} onClose=${() => setAsked(null)}>
      <p>${t(`webhooks.${asked.act}Hint`)} <strong><bdi>${asked.endpoint.name}</bdi></strong></p>
    <//>`}
  <//>`;
}

function NewEndpoint({ onMade }) {
  const [fields, setFields] = useState({ name: "", url: "", events: EVENTS.slice(0, 3) });
  const [error, setError] = useState(null);
  const make = async (event) => {
    event.preventDefault();
    try {
      const { data } = await call("POST", PATH, { body: { name: fields.name, url: fields.url, event_types: fields.events } });
      setError(null);
      setFields({ ...fields, name: "", url: "" });
      onMade(data.signing_secret);
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<form class="inline-form" onSubmit=${make}>
    <h3>${t("webhooks.new")}</h3>
    <div class="grid">
      <${Field} id="hook-name" label=${t("webhooks.name")} value=${fields.name} onText=${(name) => setFields({ ...fields, name })} />
      <${Field} id="hook-url" label="URL" type="url" placeholder="https://" value=${fields.url} onText=${(url) => setFields({ ...fields, url })} />
    </div>
    <${Boxes} label=${t("webhooks.events")} names=${EVENTS} ticked=${fields.events} said=${(name) => html`<code>${name}</code>`} onTick=${(events) => setFields({ ...fields, events })} />
    <${Trouble} error=${error} />
    <button type="submit" class="primary" disabled=${!fields.name || !fields.url || fields.events.length === 0}>${t("webhooks.make")}</button>
  </form>`;
}
