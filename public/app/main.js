// The frame of the page, and the choice of the view that is shown in the frame.
import "./early.js";
import { html, render, useEffect, useState } from "./base/dom.js";
import { learnRights, onRefusal } from "./base/api.js";
import { learn, t } from "./base/i18n.js";
import { Announcer, Lazy } from "./base/parts.js";
import { choose, mayOperate, mayWrite, onChoice, prefs } from "./base/prefs.js";
import { href, parse } from "./base/route.js";
import { isView } from "./base/views.js";

const THEMES = ["auto", "light", "dark"];
const VERSION = "0.1.0"; // as the Worker's, which a test compares

function useRoute() {
  const [route, setRoute] = useState(() => parse(window.location.hash));
  useEffect(() => {
    const listener = () => setRoute(parse(window.location.hash));
    window.addEventListener("hashchange", listener);
    return () => window.removeEventListener("hashchange", listener);
  }, []);
  return route;
}

function Frame() {
  const route = useRoute();
  const [, setChosen] = useState(0);
  const [asking, setAsking] = useState(null); // null: not; else why the key is asked for
  const [choosing, setChoosing] = useState(false); // a tenant
  const [refused, setRefused] = useState(""); // the key that the server refused last
  useEffect(() => onChoice(() => setChosen((number) => number + 1)), []);
  useEffect(() => onRefusal(() => (setRefused(prefs().key), setAsking(prefs().key ? "refused" : "needed"))), []);
  const name = isView(route.view) ? route.view : "tasks";
  const { key, tenant, theme, language } = prefs();
  useEffect(() => void learnRights(), [key]);
  const other = language === "zh" ? "en" : "zh";
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("skip")}</a>
    <header class="top">
      <a class="brand" href=${href("tasks")}>onceover</a>
      <nav aria-label=${t("navigation")}>
        ${["submit", "tasks", "health", "access"].filter((view) => view !== "submit" || mayWrite()).map(
          (view) =>
            html`<a key=${view} href=${href(view)} aria-current=${view === name || (view === "tasks" && name === "task") ? "page" : undefined}>
              ${t(`nav.${view}`)}
            </a>`,
        )}
      </nav>
      <div class="tools">
        <button type="button" class="quiet" onClick=${() => setAsking("asked")}>${t(!key ? "key.none" : key === refused ? "key.bad" : "key.set")}</button>
        ${mayOperate() &&
        html`<button type="button" class="quiet" aria-label=${t("tenant.label", { tenant: tenant || t("tenant.own") })} onClick=${() => setChoosing(true)}>
          ${tenant ? html`<bdi>${tenant}</bdi>` : t("tenant.own")}
        </button>`}
        <button
          type="button"
          class="quiet"
          aria-label=${t("theme.label", { theme: t(`theme.${theme}`) })}
          onClick=${() => choose("theme", THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length])}
        >
          <span aria-hidden="true">◐</span> ${t(`theme.${theme}`)}
        </button>
        <button type="button" class="quiet" lang=${language === "zh" ? "en" : "zh-CN"} onClick=${() => choose("language", other)}>
          ${language === "zh" ? "English" : "中文"}
        </button>
      </div>
    </header>
    <main id="main" tabindex="-1">
      <${Lazy} key=${`${name} ${route.id} ${key} ${tenant}`} name=${name} id=${route.id} query=${route.query} />
    </main>
    <footer class="hint">onceover · ${t("version", { version: VERSION })}</footer>
    ${asking && html`<${Lazy} name="key" why=${asking} onClose=${() => setAsking(null)} />`}
    ${choosing && html`<${Lazy} name="tenant" onClose=${() => setChoosing(false)} />`}
    <${Announcer} />
  `;
}

// Sets the focus by script, because the fragment of the page's address names the view and cannot name an element.
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

await learn("list");
render(html`<${Frame} />`, document.getElementById("app"));
