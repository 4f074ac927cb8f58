// The list of tasks, newest first, with its filters in the address.
import { html, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { t, whole } from "../base/i18n.js";
import { announce, Bar, Chip, chunksOf, Freshness, Lazy, nameOf, Time, Trouble, Waiting } from "../base/parts.js";
import { useRefresh } from "../base/refresh.js";
import { go, href, listPath, moment } from "../base/route.js";

// What a page of one status reads at most on the server, which walks over 500 tasks and counts each of them three times.
const ROWS_OF_A_FILTER = 1500;
const ACTIVE_SECONDS = 6; // between two looks while a task runs; a task's own page is live
const STATUSES = ["pending", "processing", "completed", "failed", "cancelled"];

export function Tasks({ query }) {
  const { status = "", after = "", before = "", cursor = "" } = query;
  const [bulk, setBulk] = useState("");
  const path = listPath(query);
  const state = useRefresh(path, async (signal, former) => {
    const { data } = await call("GET", path, { signal });
    if (former) tellChanges(former.tasks, data.tasks);
    const active = data.tasks.some((task) => task.status === "processing" && !task.waitingFor);
    return { data, active, after: status ? 30 : ACTIVE_SECONDS, rows: 2 + (status ? ROWS_OF_A_FILTER : data.tasks.length + 1) };
  });
  const filter = (more) => go("tasks", "", { status, after, before, cursor: "", ...more });
  const page = state.data;
  return html`
    <div class="head">
      <h1>${t("tasks.title")}</h1>
      <div class="row">
        <button type="button" onClick=${() => setBulk("retry")}>${t("bulk.retry")}</button>
        <button type="button" onClick=${() => setBulk("cancel")}>${t("bulk.cancel")}</button>
        <a class="button primary" href=${href("submit")}>${t("nav.submit")}</a>
      </div>
    </div>
    <form class="filters" onSubmit=${(event) => event.preventDefault()} aria-label=${t("filters")}>
      <div>
        <label for="status">${t("field.status")}</label>
        <select id="status" value=${status} onChange=${(event) => filter({ status: event.target.value })}>
          <option value="">${t("all")}</option>
          ${STATUSES.map((name) => html`<option key=${name} value=${name}>${t(`status.${name}`)}</option>`)}
        </select>
      </div>
      <div>
        <label for="after">${t("createdAfter")}</label>
        <input id="after" type="datetime-local" value=${after} onChange=${(event) => filter({ after: event.target.value })} />
      </div>
      <div>
        <label for="before">${t("createdBefore")}</label>
        <input id="before" type="datetime-local" value=${before} onChange=${(event) => filter({ before: event.target.value })} />
      </div>
    </form>
    <${Freshness} state=${state} scope=${t("tasks.scope")} />
    <${Trouble} error=${state.error} />
    ${page && html`<${List} tasks=${page.tasks} filtered=${Boolean(status || after || before || cursor)} more=${page.nextCursor} />`}
    <div class="row">
      ${cursor && html`<a class="button" href=${href("tasks", "", { status, after, before })}>${t("newest")}</a>`}
      ${page?.nextCursor && html`<a class="button" href=${href("tasks", "", { status, after, before, cursor: page.nextCursor })}>${t("older")}</a>`}
    </div>
    ${bulk && html`<${Lazy} name="bulk" kind=${bulk} after=${moment(after)} before=${moment(before)} onChange=${state.again} onClose=${() => (setBulk(""), state.again())} />`}
  `;
}

function tellChanges(former, tasks) {
  const before = new Map(former.map((task) => [task.id, task.status]));
  const changed = tasks.filter((task) => task.terminal && before.has(task.id) && before.get(task.id) !== task.status);
  if (changed.length > 0) announce(changed.map((task) => `${shortId(task.id)}: ${t(`status.${task.status}`)}`).join(", "));
}

const shortId = (id) => id.slice(-12);

function List({ tasks, filtered, more }) {
  if (tasks.length === 0) {
    const words = more ? "tasks.noneYet" : filtered ? "tasks.noneSuch" : "tasks.none";
    return html`<div class="card empty"><p>${t(words)}</p></div>`;
  }
  return html`<div class="list card" role="table" aria-label=${t("tasks.title")}>
    <div class="list-head" role="row">
      ${["status", "task", "progress", "route", "calls", "age"].map((name) => html`<span key=${name} role="columnheader">${t(`column.${name}`)}</span>`)}
    </div>
    ${tasks.map((task) => html`<${Row} key=${task.id} task=${task} />`)}
  </div>`;
}

function Row({ task }) {
  const { progress, usage } = task;
  const name = nameOf(task.metadata);
  return html`<div class="list-row" role="row">
    <span role="cell"><${Chip} status=${task.status} /></span>
    <span role="cell" class="name">
      <a href=${href("task", task.id)}>${name ? html`<bdi>${name}</bdi>` : html`<code>${shortId(task.id)}</code>`}</a>
      <small class="dim">
        ${name && html`<code>${shortId(task.id)}</code> `}
        <${Waiting} wait=${task.waitingFor} />
        ${task.error && html`<span class="bad-text" title=${task.error.message}>${task.error.code}</span>`}
      </small>
    </span>
    <span role="cell" class="progress">
      <${Bar} part=${progress.completed} of=${progress.total} label=${chunksOf(progress)} tone=${`is-${task.status}`} />
      <small>
        ${whole(progress.completed)} / ${whole(progress.total)}
        ${progress.truncated > 0 && html` <span class="warn-text">${t("cutOff", { n: progress.truncated })}</span>`}
      </small>
    </span>
    <span role="cell" data-label=${t("column.route")}>${t(`route.${task.route}`)}</span>
    <span role="cell" data-label=${t("column.calls")} class="number">
      ${whole(usage.modelCalls)} <small class="dim">/ ${whole(usage.minimumCalls)}</small>
      ${usage.inDoubt > 0 && html` <small class="warn-text">${t("inDoubtShort", { n: usage.inDoubt })}</small>`}
    </span>
    <span role="cell" data-label=${t("column.age")}><${Time} at=${task.createdAt} /></span>
  </div>`;
}
