// The page: its frame, and which view is in it.
import { html, render, useEffect, useState } from "./dom.js";
import { onRefusal } from "./api.js";
import { t } from "./i18n.js";
import { Announcer } from "./parts.js";
import { apply, choose, onChoice, prefs } from "./prefs.js";
import { href, useRoute } from "./route.js";
import { KeyDialog } from "./key.js";
import { Access } from "./access.js";
import { Health } from "./health.js";
import { Submit } from "./submit.js";
import { Task } from "./task.js";
import { Tasks } from "./tasks.js";

const VIEWS = { submit: Submit, tasks: Tasks, task: Task, health: Health, access: Access };
const THEMES = ["auto", "light", "dark"];

function Frame() {
  const route = useRoute();
  const [chosen, setChosen] = useState(0);
  const [asking, setAsking] = useState(null); // null: not; else why the key is asked for
  useEffect(() => onChoice(() => setChosen((number) => number + 1)), []);
  useEffect(() => onRefusal(() => setAsking(prefs().key ? "refused" : "needed")), []);
  const name = route.view in VIEWS ? route.view : "tasks";
  useEffect(() => {
    document.title = `${t(`nav.${name}`)} · onceover`;
  }, [name, chosen]);
  const View = VIEWS[name];
  const { key, theme, language } = prefs();
  return html`
    <a class="skip" href="#main" onClick=${skip}>${t("skip")}</a>
    <header class="top">
      <a class="brand" href=${href("tasks")}>onceover</a>
      <nav aria-label=${t("navigation")}>
        ${["submit", "tasks", "health", "access"].map(
          (view) =>
            html`<a key=${view} href=${href(view)} aria-current=${view === name || (view === "tasks" && name === "task") ? "page" : undefined}>
              ${t(`nav.${view}`)}
            </a>`,
        )}
      </nav>
      <div class="tools">
        <button type="button" class="quiet" onClick=${() => setAsking("asked")}>${key ? t("key.set") : t("key.none")}</button>
        <button
          type="button"
          class="quiet"
          aria-label=${t("theme.label", { theme: t(`theme.${theme}`) })}
          onClick=${() => choose("theme", THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length])}
        >
          <span aria-hidden="true">◐</span> ${t(`theme.${theme}`)}
        </button>
        <button type="button" class="quiet" lang=${language === "zh" ? "en" : "zh-CN"} onClick=${() => choose("language", language === "zh" ? "en" : "zh")}>
          ${language === "zh" ? "English" : "中文"}
        </button>
      </div>
    </header>
    <main id="main" tabindex="-1">
      <${View} key=${`${name} ${route.id} ${key}`} id=${route.id} query=${route.query} />
    </main>
    ${asking && html`<${KeyDialog} why=${asking} onClose=${() => setAsking(null)} />`}
    <${Announcer} />
  `;
}

// The address is taken for views, so the link that skips to the content moves the focus itself.
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

apply();
render(html`<${Frame} />`, document.getElementById("app"));
