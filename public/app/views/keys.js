// The list of the tenant's API keys, with forms that make and revoke keys.
import { html, render, useState } from "../base/dom.js";
import { call, now } from "../base/api.js";
import { t } from "../base/i18n.js";
import { announce, Card, Confirm, Copy, Dialog, Freshness, Time, Trouble } from "../base/parts.js";
import { useRefresh } from "../base/refresh.js";

const SCOPES = ["read", "write", "admin"];
const DAY = 86_400;

export function Keys() {
  const state = useRefresh("keys", async (signal) => {
    const { data } = await call("GET", "/api/keys", { signal });
    return { data: data.keys, active: false, done: true };
  });
  const [doomed, setDoomed] = useState(null);
  const revoke = async () => {
    await call("DELETE", `/api/keys/${encodeURIComponent(doomed.id)}`);
    announce(t("keys.revoked"));
    state.again();
  };
  return html`<${Card} title=${t("keys.title")} beside=${html`<${Freshness} state=${state} />`}>
    <${Trouble} error=${state.error} />
    ${state.data?.length === 0 && html`<p class="dim">${t("keys.none")}</p>`}
    ${state.data?.length > 0 &&
    html`<ul class="rows">
      ${state.data.map(
        (key) => html`<li key=${key.id}>
          <span><strong><bdi>${key.label ?? t("keys.unnamed")}</bdi></strong> <code>oo_${key.id}_…</code></span>
          <span>${key.scopes.map((scope) => html`<span key=${scope} class="tag">${t(`scope.${scope}`)}</span> `)}</span>
          <span class="dim">
            ${t("search.time")} <${Time} at=${key.createdAt} />
            ${key.expiresAt && html` · ${t(Date.parse(key.expiresAt) < now() ? "keys.expired" : "keys.expires")} <${Time} at=${key.expiresAt} />`}
          </span>
          <button type="button" class="danger" onClick=${() => setDoomed(key)}>${t("keys.revoke")}</button>
        </li>`,
      )}
    </ul>`}
    ${state.data && state.error?.status !== 403 && html`<${NewKey} onMade=${(text) => (reveal(t("keys.made"), text), state.again())} />`}
    ${doomed &&
    html`<${Confirm} title=${t("keys.revoke")} verb=${t("keys.revoke")} danger act=${revoke} onClose=${() => setDoomed(null)}>
      <p>${t("keys.revokeHint")} <strong><bdi>${doomed.label ?? doomed.id}</bdi></strong></p>
    <//>`}
  <//>`;
}

const FREE_MS = 50; // between two looks whether another dialog is open

/** Shows a secret once, after any open dialog. No change of the view closes the secret's dialog. */
export function reveal(title, text) {
  if (document.querySelector("dialog")) return void setTimeout(() => reveal(title, text), FREE_MS);
  const place = document.body.appendChild(document.createElement("div"));
  const close = () => (render(null, place), place.remove());
  const secret = html`<${Dialog} title=${title} keep onClose=${close}>
    <p>${t("secret.once")}</p>
    <p class="secret"><code>${text}</code></p>
    <div class="row end"><${Copy} text=${text} /><button type="button" class="primary" onClick=${close}>${t("secret.kept")}</button></div>
  <//>`;
  render(secret, place);
}

/** A field of a form. */
export const Field = ({ id, label, onText, ...others }) =>
  html`<div><label for=${id}>${label}</label><input id=${id} onInput=${(event) => onText(event.target.value)} ...${others} /></div>`;

/** Boxes with these names, any number of which may be ticked. */
export const Boxes = ({ label, names, ticked, said, onTick }) => {
  const toggle = (name) => onTick(names.filter((each) => (each === name) !== ticked.includes(each)));
  return html`<fieldset>
    <legend>${label}</legend>
    ${names.map((name) => html`<label key=${name} class="choice inline"><input type="checkbox" checked=${ticked.includes(name)} onChange=${() => toggle(name)} /> <span>${said(name)}</span></label>`)}
  </fieldset>`;
};

function NewKey({ onMade }) {
  const [fields, setFields] = useState({ label: "", days: "", scopes: ["read", "write"] });
  const [error, setError] = useState(null);
  const make = async (event) => {
    event.preventDefault();
    try {
      const body = { scopes: fields.scopes };
      if (fields.label) body.label = fields.label;
      if (fields.days) body.expiresInSeconds = Math.round(Number(fields.days) * DAY);
      const { data } = await call("POST", "/api/keys", { body });
      setError(null);
      setFields({ ...fields, label: "" });
      onMade(data.key);
    } catch (failure) {
      setError(failure);
    }
  };
  return html`<form class="inline-form" onSubmit=${make}>
    <h3>${t("keys.new")}</h3>
    <div class="grid">
      <${Field} id="key-name" label=${t("keys.label")} maxlength="100" value=${fields.label} onText=${(label) => setFields({ ...fields, label })} />
      <${Field} id="key-days" label=${t("keys.days")} inputmode="decimal" value=${fields.days} placeholder=${t("keys.forever")} onText=${(days) => setFields({ ...fields, days })} />
    </div>
    <${Boxes} label=${t("keys.scopes")} names=${SCOPES} ticked=${fields.scopes} said=${(scope) => html`${t(`scope.${scope}`)}<small>${t(`scope.${scope}Hint`)}</small>`} onTick=${(scopes) => setFields({ ...fields, scopes })} />
    <${Trouble} error=${error} />
    <button type="submit" class="primary" disabled=${fields.scopes.length === 0}>${t("keys.make")}</button>
  </form>`;
}
