// The address: #/view/id?name=value. It holds which view is shown and its filters, and never a key.
import { useEffect, useState } from "./dom.js";

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

export function href(view, id = "", query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const tail = given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
  return `#/${view}${id ? `/${encodeURIComponent(id)}` : ""}${tail}`;
}

export const go = (...where) => {
  window.location.hash = href(...where);
};

/** Changes the address without a new step in the browser's history. */
export const replace = (...where) => {
  window.history.replaceState(null, "", href(...where));
  window.dispatchEvent(new HashChangeEvent("hashchange"));
};

export function useRoute() {
  const [route, setRoute] = useState(() => parse(window.location.hash));
  useEffect(() => {
    const listener = () => setRoute(parse(window.location.hash));
    window.addEventListener("hashchange", listener);
    return () => window.removeEventListener("hashchange", listener);
  }, []);
  return route;
}
