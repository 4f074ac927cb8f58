// The filters of the list of tasks. The page's address contains all filters, with times in UTC, so a link means the
// same in another time zone.
import { html, useEffect, useState } from "../base/dom.js";
import { RETRIED_BY_CODE } from "./codes.js";
import { clock, t } from "../base/i18n.js";
import { go, href, isLast, LASTS, moment, replace } from "../base/route.js";

const STATUSES = ["failed", "processing", "pending", "completed", "cancelled"];
const ROUTES = ["direct", "queue", "durable-object"];
const CODES = [...RETRIED_BY_CODE, "budget_exhausted", "cost_exhausted"];
const TYPING_MS = 400;

/** Whether the server has to scan other tasks to find the tasks that match. */
export const isSearch = ({ status, q, code, model, route }) => Boolean(status || q || code || model || route);

export function Filters({ query }) {
  const change = (more) => go("tasks", "", { ...query, cursor: "", ...more });
  const [between, setBetween] = useState(Boolean(query.after || query.before));
  const time = isLast(query.last) ? query.last : between || query.after || query.before ? "between" : "";
  const choose = (name) => {
    setBetween(name === "between");
    change({ last: isLast(name) ? name : "", ...(name !== "between" && { after: "", before: "" }) });
  };
  const { code = "", model = "", route = "" } = query;
  const [open, setOpen] = useState(Boolean(time || code || model || route));
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()} aria-label=${t("filters")}>
    <${Typed} name="q" query=${query} placeholder=${t("search.hint")} />
    <button type="button" aria-expanded=${open} onClick=${() => setOpen(!open)}>${t("search.more")}</button>
    ${open &&
    html`<div class="grid">
      <${Choice} id="time" label=${t("search.time")} value=${time} options=${[...Object.keys(LASTS), "between"]} said=${(name) => t(`time.${name}`)} onChange=${choose} />
      ${time === "between" && ["after", "before"].map((name) => html`<${Moment} key=${name} name=${name} query=${query} change=${change} />`)}
      <${Choice} id="code" label=${t("search.code")} value=${code} options=${CODES} onChange=${(code) => change({ code })} />
      <${Typed} name="model" query=${query} labelled />
      <${Choice} id="route" label=${t("column.route")} value=${route} options=${ROUTES} said=${(name) => t(`route.${name}`)} onChange=${(route) => change({ route })} />
    </div>`}
  </form>`;
}

const Choice = ({ id, label, value, options, said = String, onChange }) => html`<div>
  <label for=${id}>${label}</label>
  <select id=${id} value=${value} onChange=${(event) => onChange(event.target.value)}>
    <option value="">${t(id === "time" ? "time.any" : "all")}</option>
    ${options.map((name) => html`<option key=${name} value=${name}>${said(name)}</option>`)}
  </select>
</div>`;

/** A text field. A search begins when the user stops typing, and adds no entry to the browser's history. */
function Typed({ name, query, placeholder, labelled = false }) {
  const given = query[name] ?? "";
  const [text, setText] = useState(given);
  useEffect(() => setText(given), [given]);
  useEffect(() => {
    if (text.trim() === given) return undefined;
    const timer = setTimeout(() => replace("tasks", "", { ...query, cursor: "", [name]: text.trim() }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text, JSON.stringify(query)]);
  return html`<div>
    <label class=${labelled ? "" : "sr"} for=${name}>${t(`search.${name}`)}</label>
    <input id=${name} type="search" maxlength="100" spellcheck=${false} value=${text} placeholder=${placeholder} onInput=${(event) => setText(event.target.value)} />
  </div>`;
}

const Moment = ({ name, query, change }) => html`<div>
  <label for=${name}>${t(name === "after" ? "createdAfter" : "createdBefore")}</label>
  <input id=${name} type="datetime-local" value=${here(query[name])} onChange=${(event) => change({ last: "", [name]: moment(event.target.value) })} />
</div>`;

/** A time as a form's field needs it: local, without the time zone. */
function here(text) {
  const time = new Date(text ?? "");
  if (Number.isNaN(time.getTime())) return "";
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The filter by status: links with the number of tasks that have it. `at` is the time of the counts if it is not the list's. */
export function Counts({ query: { status, cursor, ...others }, counts, at }) {
  const isKnown = (name) => !counts || counts[name] > 0 || name === status;
  return html`<div class="counts" role="group" aria-label=${t("column.status")}>
    <a href=${href("tasks", "", others)} aria-current=${status ? undefined : "true"}>${t("all")} <b>${counts?.among}</b></a>
    ${STATUSES.filter(isKnown).map(
      (name) => html`<a key=${name} href=${href("tasks", "", { ...others, status: name })} aria-current=${name === status ? "true" : undefined}>${t(`status.${name}`)} <b>${counts?.[name]}</b></a>`,
    )}
    <span class="dim">${counts && !counts.all && t("counts.among", { n: counts.among })} ${at && t("asOf", { time: clock(at) })}</span>
  </div>`;
}
