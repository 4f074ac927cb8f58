// The view of the list of tasks, newest first. The page's address contains the filters.
import { html, useEffect, useRef, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { Counts, Filters, isSearch } from "./filters.js";
import { covered, t, whole } from "../base/i18n.js";
import { announce, Bar, Chip, chunksOf, Freshness, Lazy, nameOf, shortId, Time, Trouble, useTitle, Waiting } from "../base/parts.js";
import { useRefresh } from "../base/refresh.js";
import { mayWrite } from "../base/prefs.js";
import { href, listPath, moment, pinned, since } from "../base/route.js";

// The rows that count for one search, so that the page rarely repeats it. The server reads at most 1,000.
const ROWS_OF_A_FILTER = 1500;
const ACTIVE_SECONDS = 6; // between two looks while a task runs; a task's own page is live
const COUNT_MS = 60_000; // between two counts while the list changes: a count reads up to 500 rows

export function Tasks({ query }) {
  const { cursor = "", ...filters } = query;
  const [bulk, setBulk] = useState("");
  const [chosen, setChosen] = useState(new Set()); // ids
  const due = useRef(0); // when the statuses may be counted again; Infinity while the list does not change
  useEffect(() => setChosen(new Set()), [JSON.stringify(query)]); // what is not shown is not chosen
  const searched = isSearch(query);
  useTitle([query.q, query.status && t(`status.${query.status}`), t("nav.tasks")].filter(Boolean).join(" · "));
  const state = useRefresh(JSON.stringify(query), async (signal, former) => {
    const counts = !former || Date.now() >= due.current;
    const { data } = await call("GET", listPath({ ...query, counts: counts || "" }), { signal });
    if (former) tellChanges(former.tasks, data.tasks);
    if (counts) [data.countedAt, due.current] = [Date.now(), Infinity];
    else {
      if (newsOf(former) !== newsOf(data)) due.current = Math.min(due.current, former.countedAt + COUNT_MS);
      Object.assign(data, { counts: former.counts, countedAt: former.countedAt });
    }
    const active = data.tasks.some((task) => task.status === "processing" && !task.waitingFor);
    return { data, active, after: searched ? 30 : ACTIVE_SECONDS, rows: 2 + (searched ? ROWS_OF_A_FILTER : data.tasks.length + 1) };
  });
  const again = () => ((due.current = 0), state.again());
  const page = state.data;
  return html`
    <div class="head"><h1>${t("nav.tasks")}</h1><${Freshness} state=${{ ...state, again }} /></div>
    <${Counts} query=${query} counts=${page?.counts} at=${page?.countedAt < state.at - 1000 ? page.countedAt : null} />
    <${Filters} query=${query} />
    <${Trouble} error=${state.error} />
    ${page && mayWrite() && chosen.size > 0 && html`<${Lazy} name="chosen" tasks=${page.tasks} chosen=${chosen} onChoose=${setChosen} onChange=${again} onMany=${setBulk} />`}
    ${page && html`<${List} tasks=${page.tasks} chosen=${mayWrite() ? chosen : null} onChoose=${setChosen} filtered=${Object.keys(query).length > 0} more=${page.nextCursor} />`}
    <div class="row">
      ${cursor && html`<a class="button" href=${href("tasks", "", filters)}>${t("newest")}</a>`}
      ${page?.nextCursor && html`<a class="button" href=${href("tasks", "", { ...pinned(filters), cursor: page.nextCursor })}>${t("older")}</a>`}
      ${page && html`<${Lazy} name="share" hash=${href("tasks", "", pinned(query))} path=${listPath(query)} />`}
    </div>
    ${bulk && html`<${Lazy} name="bulk" kind=${bulk} code=${query.code} after=${since(query)} before=${moment(query.before)} onChange=${state.again} onClose=${() => (setBulk(""), again())} />`}
  `;
}

const newsOf = ({ tasks }) => tasks.map(({ id, status }) => id + status).join();

function tellChanges(former, tasks) {
  const before = new Map(former.map((task) => [task.id, task.status]));
  const changed = tasks.filter((task) => task.terminal && before.has(task.id) && before.get(task.id) !== task.status);
  if (changed.length > 0) announce(changed.map((task) => `${shortId(task.id)}: ${t(`status.${task.status}`)}`).join(", "));
}

function List({ tasks, chosen, onChoose, filtered, more }) {
  const all = tasks.every(({ id }) => chosen?.has(id));
  const toggle = (id) => {
    const next = new Set(chosen);
    if (!next.delete(id)) next.add(id);
    onChoose(next);
  };
  if (tasks.length === 0) {
    const words = more ? "tasks.noneYet" : filtered ? "tasks.noneSuch" : "tasks.none";
    return html`<div class="card empty"><p>${t(words)}</p>${words === "tasks.none" && mayWrite() && html`<${Lazy} name="sample" />`}</div>`;
  }
  return html`<div class=${chosen ? "list card choosing" : "list card"} role="table" aria-label=${t("nav.tasks")}>
    <div class="list-head" role="row">
      ${chosen && html`<span role="columnheader" data-label=${t("chosen.all")}><${Tick} label=${t("chosen.all")} on=${all} onChange=${() => onChoose(new Set(all ? [] : tasks.map(({ id }) => id)))} /></span>`}
      ${["status", "task", "progress", "route", "calls", "age"].map((name) => html`<span key=${name} role="columnheader">${t(`column.${name}`)}</span>`)}
    </div>
    ${tasks.map((task) => html`<${Row} key=${task.id} task=${task} chosen=${chosen?.has(task.id)} onChoose=${chosen && (() => toggle(task.id))} />`)}
  </div>`;
}

const Tick = ({ label, on, onChange }) => html`<input type="checkbox" aria-label=${label} checked=${on} onChange=${onChange} />`;

function Row({ task, chosen, onChoose }) {
  const { kind, progress, usage } = task;
  const name = nameOf(task);
  return html`<div class="list-row" role="row">
    ${onChoose && html`<span role="cell"><${Tick} label=${t("chosen.one", { name: name || shortId(task.id) })} on=${chosen} onChange=${onChoose} /></span>`}
    <span role="cell"><${Chip} status=${task.status} /></span>
    <span role="cell" class="name">
      ${kind && html`<span class="tag">${t(`kind.${kind}`)}</span> `}<a href=${href("task", task.id)}>${name ? html`<bdi>${name}</bdi>` : html`<code>${shortId(task.id)}</code>`}</a>
      <small class="dim">
        ${name && html`<code>${shortId(task.id)}</code> `}
        <${Waiting} wait=${task.waitingFor} />
        ${task.error && html`<span class="bad-text" title=${`“${task.error.message}”`}>${task.error.code}</span>`}
      </small>
    </span>
    <span role="cell" class="progress">
      ${progress.total !== null && html`<${Bar} part=${progress.completed} of=${progress.total} label=${chunksOf(task)} tone=${`is-${task.status}`} />`}
      <small>
        ${progress.total === null ? t(kind ? (task.terminal ? "lines.none" : "lines.checked") : task.terminal ? "chunks.none" : "chunks.checked") : kind ? chunksOf(task) : html`${whole(progress.completed)} / ${whole(progress.total)}`}
        ${[
          kind && progress.failed > 0 && t("lines.failed", { n: progress.failed }),
          progress.truncated > 0 && t("cutOff", { n: progress.truncated }),
          task.coverage < 1 && t("gapsShort", { share: covered(task.coverage) }),
        ].map((note) => note && html` · <span class="warn-text">${note}</span>`)}
      </small>
    </span>
    <span role="cell" data-label=${t("column.route")}>${t(`route.${task.route}`)}</span>
    <span role="cell" data-label=${t("column.calls")} class="number">
      ${whole(usage.modelCalls)} ${progress.total !== null && html`<small class="dim">/ ${whole(usage.minimumCalls)}</small>`}
      ${usage.inDoubt > 0 && html` <small class="warn-text">${t("inDoubtShort", { n: usage.inDoubt })}</small>`}
    </span>
    <span role="cell" data-label=${t("column.age")}><${Time} at=${task.createdAt} /></span>
  </div>`;
}
