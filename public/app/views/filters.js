// The filters of the list of tasks. The page's address contains all filters, with times in UTC, so a link means the
// same in another time zone.
import { html, useEffect, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { RETRIED_BY_CODE } from "./codes.js";
import { t } from "../base/i18n.js";
import { go, href, isLast, LASTS, listPath, moment, replace } from "../base/route.js";

const STATUSES = ["pending", "processing", "completed", "failed", "cancelled"];
const ROUTES = ["direct", "queue", "durable-object"];
const CODES = [...RETRIED_BY_CODE, "budget_exhausted"];
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
  return html`<form class="filters" role="search" onSubmit=${(event) => event.preventDefault()} aria-label=${t("filters")}>
    <${Typed} name="q" wide query=${query} placeholder=${t("search.hint")} />
    <${Choice} id="status" label=${t("field.status")} value=${query.status ?? ""} options=${STATUSES} said=${(name) => t(`status.${name}`)} onChange=${(status) => change({ status })} />
    <${Choice} id="time" label=${t("search.time")} value=${time} options=${[...Object.keys(LASTS), "between"]} said=${(name) => t(`time.${name}`)} onChange=${choose} />
    ${time === "between" && ["after", "before"].map((name) => html`<${Moment} key=${name} name=${name} query=${query} change=${change} />`)}
    <details class="wide" open=${Boolean(code || model || route)}>
      <summary>${t("search.more")}</summary>
      <div class="filters">
        <${Choice} id="code" label=${t("search.code")} value=${code} options=${CODES} onChange=${(code) => change({ code })} />
        <${Typed} name="model" query=${query} />
        <${Choice} id="route" label=${t("column.route")} value=${route} options=${ROUTES} said=${(name) => t(`route.${name}`)} onChange=${(route) => change({ route })} />
      </div>
    </details>
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
function Typed({ name, query, wide = false, placeholder }) {
  const given = query[name] ?? "";
  const [text, setText] = useState(given);
  useEffect(() => setText(given), [given]);
  useEffect(() => {
    if (text.trim() === given) return undefined;
    const timer = setTimeout(() => replace("tasks", "", { ...query, cursor: "", [name]: text.trim() }), TYPING_MS);
    return () => clearTimeout(timer);
  }, [text, JSON.stringify(query)]);
  return html`<div class=${wide ? "wide" : ""}>
    <label for=${name}>${t(`search.${name}`)}</label>
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

/**
 * The number of tasks with each status, as links. A count reads up to 500 rows, so a plain list is counted on demand,
 * and a search once. `version` changes when an act on this page changes the list.
 */
export function Counts({ query, version }) {
  const { status, cursor, ...others } = query;
  const [asked, setAsked] = useState(false);
  const [counts, setCounts] = useState(null);
  const wanted = asked || isSearch(others);
  const key = JSON.stringify(others);
  useEffect(() => {
    if (!wanted) return undefined;
    const controller = new AbortController();
    call("GET", listPath({ ...others, limit: 1, counts: true }), { signal: controller.signal }).then(
      ({ data }) => setCounts({ ...data.counts, key }),
      () => {}, // the list itself says what is wrong
    );
    return () => controller.abort();
  }, [key, wanted, version]);
  if (!wanted) return html`<div class="row"><button type="button" class="quiet" onClick=${() => setAsked(true)}>${t("counts.ask")}</button></div>`;
  if (counts?.key !== key) return null;
  return html`<p class="counts">
    ${STATUSES.map(
      (name) => html`<a key=${name} href=${href("tasks", "", { ...others, status: name })} aria-current=${name === status ? "true" : undefined}>${t(`status.${name}`)} <b>${counts[name]}</b></a> `,
    )}
    <span class="dim">${t(counts.all ? "counts.all" : "counts.among", { n: counts.among })}</span>
  </p>`;
}
