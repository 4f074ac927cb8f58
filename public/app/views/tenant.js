// The dialog that chooses the tenant whose tasks the page shows, for keys with the scope `operator`.
import { html, useEffect, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { count, t } from "../base/i18n.js";
import { Dialog, Trouble } from "../base/parts.js";
import { choose, prefs } from "../base/prefs.js";

const path = (cursor) => `/api/tenants?tenant=*${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`;

export function TenantDialog({ onClose }) {
  const [state, setState] = useState({ rows: [], next: "", error: null });
  const more = async (cursor, rows) => {
    try {
      const { data } = await call("GET", path(cursor));
      setState({ rows: [...rows, ...data.tenants], next: data.nextCursor, error: null });
    } catch (error) {
      setState({ rows, next: null, error });
    }
  };
  useEffect(() => void more("", []), []);
  const use = (name) => {
    choose("tenant", name);
    onClose();
  };
  const { rows, next, error } = state;
  return html`<${Dialog} title=${t("tenant.title")} onClose=${onClose}>
    ${error?.status === 403 ? html`<p>${t("tenant.notAllowed")}</p>` : html`<${Trouble} error=${error} />`}
    <p class="hint">${t("tenant.hint")}</p>
    <ul class="choices">
      <li><button type="button" aria-pressed=${prefs().tenant === ""} onClick=${() => use("")}>${t("tenant.own")}</button></li>
      ${rows.map(
        (one) => html`<li key=${one.tenant}>
          <button type="button" aria-pressed=${prefs().tenant === one.tenant} onClick=${() => use(one.tenant)}><bdi>${one.tenant}</bdi></button>
          <span class="hint">${figures(one)}</span>
        </li>`,
      )}
    </ul>
    <div class="row end">
      ${next && html`<button type="button" onClick=${() => more(next, rows)}>${t("tenant.more")}</button>`}
      <button type="button" onClick=${onClose}>${t("back")}</button>
    </div>
  <//>`;
}

/** Writes a tenant's tasks of the last day: how many, how many failed and why, and their calls. */
const figures = (one) =>
  [
    `${count("tenant.tasks", one.tasks)}${one.more ? "+" : ""}`,
    one.failed > 0 && `${t("tenant.failed", { n: one.failed })}: ${one.failures.map(({ code, tasks }) => `${code} ${tasks}`).join(", ")}`,
    count("calls", one.modelCalls),
  ]
    .filter(Boolean)
    .join(" · ");
