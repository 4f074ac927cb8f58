// Addresses of the page and of the API. The page's address is #/view/id?name=value: it contains the view and its
// filters, and never a key. The page requests `listPath` and `taskPath` before it has loaded a view.
import { now } from "./api.js";

const PAGE = 25; // tasks

export function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view = "", id = ""] = path.split("/");
  return { view: view || "tasks", id: decode(id), query: Object.fromEntries(new URLSearchParams(query)) };
}

const decode = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

/** The given parameters as the query of an address. */
export const tail = (query) => {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
};

export const href = (view, id = "", query = {}) => `#/${view}${id ? `/${encodeURIComponent(id)}` : ""}${tail(query)}`;

export const go = (...where) => {
  window.location.hash = href(...where);
};

/** Changes the address without a new entry in the browser's history. */
export const replace = (...where) => {
  window.history.replaceState(null, "", href(...where));
  window.dispatchEvent(new HashChangeEvent("hashchange"));
};

/** Turns the time in a form's field into a time for the API, '' if the field has no time. */
export const moment = (text) => {
  const time = Date.parse(text);
  return Number.isNaN(time) ? "" : new Date(time).toISOString();
};

const MINUTE = 60_000;
/** The spans of the list's filter `last`, in minutes. */
export const LASTS = { "1h": 60, "24h": 24 * 60, "7d": 7 * 24 * 60 };

export const isLast = (name) => Object.hasOwn(LASTS, name ?? "");

/** The earliest creation time that a filter allows. With `last` this time moves with the clock, minute by minute. */
export const since = ({ last, after }) =>
  isLast(last) ? new Date((Math.floor(now() / MINUTE) - LASTS[last]) * MINUTE).toISOString() : moment(after);

/** Replaces `last` by fixed times, so that a link always shows the same tasks. */
export const pinned = ({ last, ...query }) => ({ ...query, after: since({ last, after: query.after }), before: moment(query.before) });

export const listPath = ({ q, status, code, model, route, before, limit = PAGE, cursor, counts, ...query }) =>
  `/api/tasks${tail({ q, status, code, model, route, createdAfter: since(query), createdBefore: moment(before), limit, cursor, counts })}`;

export const taskPath = (id) => `/api/tasks/${encodeURIComponent(id)}`;
