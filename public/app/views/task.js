// The view of one task: its result or why it failed, its cost, why it waits, and its chunks over time.
import { html, useEffect, useMemo, useRef, useState } from "../base/dom.js";
import { Actions, actsOf } from "./actions.js";
import { call } from "../base/api.js";
import { billOf, exact, LastError, runOf } from "./bill.js";
import { ChunkTable } from "./chunks.js";
import { Deliveries } from "./deliveries.js";
import { useLive } from "./live.js";
import { Output, Ways } from "./output/output.js";
import { count, covered, t, whole } from "../base/i18n.js";
import { announce, Bar, Card, Chip, chunksOf, Copy, Facts, Figures, Freshness, Lazy, Notice, Save, shortId, titleOf, Trouble, useTitle, Waiting, Words } from "../base/parts.js";
import { useRefresh } from "../base/refresh.js";
import { href, replace, taskPath } from "../base/route.js";
import { Waterfall } from "./waterfall.js";

const SECONDS_MOST = 3; // between two looks at a task of which there is news
const QUIET_SECONDS = 15; // without news for so long, and nothing is happening
const LIVE_SECONDS = 10; // between two looks while the stream tells of no news
const NEWS_MS = 3000; // between two looks while it does: it shows neither the bill nor the calls that are out

export function Task({ id, query }) {
  const table = useMemo(() => new ChunkTable(id), [id]);
  const [, setNews] = useState(0);
  const source = useRef(null); // the text, once it has been read
  const followed = useRef(false);
  const [logged, setLogged] = useState(null); // the outcome that the log of calls shows; null: it is closed
  const state = useRefresh(id, async (signal, former) => {
    const { data, retryAfter } = await call("GET", taskPath(id), { signal });
    if (data.kind) return (await import("./batch/read.js")).readBatch(data, former, retryAfter, signal);
    if (former && former.status !== data.status) announce(`${titleOf(data)}: ${t(`status.${data.status}`)}`);
    table.sync(data, signal, () => setNews((number) => number + 1));
    // `Retry-After` grows while a task does not change, so it is too long just after a change.
    const isNews = former?.status !== data.status || settled(former) !== settled(data);
    const polled = Math.min(retryAfter ?? 2, isNews ? SECONDS_MOST : Infinity);
    const after = followed.current ? Math.max(polled, LIVE_SECONDS) : polled;
    // Calls may outlive their task: the page asks until each is settled or in doubt.
    const done = data.terminal && data.calls.out.length === 0;
    return { data, active: after < QUIET_SECONDS, after, rows: 5 + 2 * (data.waitingFor?.ahead ?? 0), done };
  });
  const task = state.data;
  const live = useEvents(task?.kind ? null : task, table, state.again, () => setNews((number) => number + 1));
  followed.current = live;
  useTitle(task ? titleOf(task) : shortId(id));
  const selected = query.chunk === undefined ? null : Math.min(Number(query.chunk) || 0, (task?.progress.total ?? 1) - 1);
  const select = (index) => replace("task", id, { chunk: String(index) });
  return html`
    <div class="head">
      <p class="crumbs"><a href=${href("tasks")}>${t("nav.tasks")}</a> / <code>${shortId(id)}</code></p>
      <${Freshness} state=${state} note=${task && !task.terminal && t(live ? "live.on" : "live.off")} isLive=${live} />
    </div>
    <${Trouble} error=${state.error} />
    ${task?.kind && html`<${Lazy} name="batch" task=${task} state=${state} />`}
    ${task &&
    !task.kind &&
    html`<${Head} task=${task} again=${state.again} />
      ${task.error && html`<${Failure} task=${task} table=${table} again=${state.again} onSelect=${select} onLog=${() => setLogged("failed")} />`}
      <${Result} task=${task} />
      ${task.gaps?.length > 0 && html`<${Lazy} name="gaps" task=${task} onSelect=${select} />`}
      <${Standing} task=${task} />
      <${Card}
        title=${t("waterfall.title")}
        hint=${t("waterfall.derived")}
        beside=${html`<span class="row">
          ${!task.error && hasTrouble(task) && html`<button type="button" onClick=${() => setLogged("failed")}>${t("log.toFailed")}</button>`}
          <span class="dim">${task.progress.total !== null && chunksOf(task)}</span>
        </span>`}
      >
        <${Trouble} error=${table.error} />
        <${Waterfall} task=${task} table=${table} selected=${selected} onSelect=${select} />
        ${merging(task) && html`<${Notice}>${merging(task)}<//>`}
      <//>
      ${logged === null
        ? html`<div class="row"><button type="button" onClick=${() => setLogged("")}>${t("log.show")}</button></div>`
        : html`<${Lazy} name="attempts" task=${task} version=${state.at} outcome=${logged} onAsk=${setLogged} onSelect=${select} />`}
      ${selected !== null && html`<${Lazy} name="chunk" key=${selected} task=${task} index=${selected} meta=${table.known[selected]} source=${source} />`}
      <div class="pair even">
        <${Request} task=${task} />
        ${task.terminal && html`<${Deliveries} id=${id} version=${state.at} />`}
      </div>`}
  `;
}

const settled = ({ progress }) => progress.completed + progress.failed;

/** Whether users have something to look up in the log. */
const hasTrouble = ({ progress, usage, lastError }) => progress.failed > 0 || usage.inDoubt > 0 || usage.rejected > 0 || Boolean(lastError);

/**
 * Follows the task's events. A chunk is drawn at once; the numbers of the view are read again, all at one time. Returns
 * whether the stream is open.
 */
function useEvents(task, table, again, news) {
  const timer = useRef(0);
  useEffect(() => () => clearTimeout(timer.current), []);
  const live = useLive(task, ({ name, data }) => {
    if (name === "chunk") news(table.keep(data));
    const later = ["chunk", "gap", "progress"].includes(name) ? NEWS_MS : 0; // a change of the status is shown at once
    if (later && timer.current) return;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => ((timer.current = 0), again()), later);
  });
  return live;
}

function merging({ calls }) {
  const merges = calls.out.filter(({ level }) => level > 0);
  if (merges.length === 0) return "";
  return count("waterfall.merging", merges.length, { level: merges[0].level });
}

function Head({ task, again }) {
  return html`<div class="head">
    <h1 class="title"><${Chip} status=${task.status} />${task.gaps?.length > 0 && html` <span class="chip is-degraded">${count("gaps.count", task.gaps.length)}</span>`} <bdi>${titleOf(task)}</bdi></h1>
    <${Actions} task=${task} again=${again} names=${actsOf(task).slice(task.error ? 1 : 0)} />
  </div>`;
}

function Failure({ task, table, again, onSelect, onLog }) {
  const { error, progress } = task;
  const failed = table.known.filter((chunk) => chunk?.status === "failed");
  const at = (failed.find((chunk) => chunk.error?.code === error.code) ?? failed[0])?.index;
  const why = t(`why.${error.code}`);
  const [helps] = actsOf(task);
  return html`<section class="card failure" aria-labelledby="failure-title">
    <h2 id="failure-title">${at === undefined ? t("failure.task", { why }) : t("failure.chunkOf", { n: at + 1, total: progress.total, why })}</h2>
    <blockquote lang=""><bdi>${error.message}</bdi></blockquote>
    <p>${helps === "again" ? `${t("notRetryable")} ${t("help.again")}` : t(error.code === "budget_exhausted" ? "help.budget" : "retryable")} <code class="dim">${error.code}</code></p>
    <div class="row">
      <${Actions} task=${task} again=${again} names=${[helps]} primary />
      ${at !== undefined && html`<button type="button" onClick=${() => onSelect(at)}>${t("failure.show", { n: at + 1 })}</button>`}
      <button type="button" onClick=${onLog}>${t("log.toFailed")}</button>
    </div>
  </section>`;
}

function Standing({ task }) {
  const { progress, usage } = task;
  return html`<section class="card" aria-label=${t("task.standing")}>
    ${progress.total === null
      ? html`<p class="dim">${t(task.terminal ? "chunks.none" : "chunks.checked")}</p>`
      : html`<${Bar} part=${progress.completed} of=${progress.total} label=${chunksOf(task)} tone=${`thick is-${task.status}`} />`}
    ${task.waitingFor && html`<p class="lead"><${Waiting} wait=${task.waitingFor} /></p>`}
    <${LastError} of=${task} part="chunkName" />
    <${Figures} of=${billOf(task, t("bill.minimum", { n: usage.minimumCalls }), t("bill.tokensNote"))} />
    <${Facts} of=${runOf(task, "gaps.retryOf", task.createdAt, [[t("startedAt"), exact(task.startedAt)]], task.finishedAt, [t("deadlineAt"), exact(task.deadlineAt)])} />
    <${Lazy} name="share" hash=${href("task", task.id)} path=${taskPath(task.id)} id=${task.id} />
  </section>`;
}

function Result({ task }) {
  if (!task.result) return null;
  const { output, value } = task.result;
  const isShaped = value !== undefined; // by a schema: then each output is JSON
  const outputs = Array.isArray(output) ? output.filter((one) => one !== null) : null;
  const text = !outputs ? output : isShaped ? `[${output.map((one) => one ?? "null").join(",")}]` : outputs.join("\n\n");
  return html`<${Card} title=${t("result.title")} beside=${!isShaped && html`<div class="row"><${Ways} /><${Copy} text=${text} /><${Save} text=${text} name=${`onceover-${task.id}.txt`} /></div>`}>
    ${task.progress.truncated > 0 && html`<${Notice} tone="warn">${count("result.truncated", task.progress.truncated)}<//>`}
    ${task.gaps?.length > 0 && html`<${Notice} tone="warn">${count("result.gaps", task.gaps.length, { share: covered(task.coverage) })}<//>`}
    ${outputs && html`<p class="hint">${count(isShaped ? "result.values" : "result.list", outputs.length)}</p>`}
    ${isShaped
      ? html`<${Lazy} name="value" text=${text} label=${t("result.title")} file=${`onceover-${task.id}.json`} />`
      : html`<${Output} texts=${outputs ?? [output]} label=${t("result.title")} tall />`}
    ${task.result.quotes?.length > 0 && html`<${Lazy} name="quotes" result=${task.result} />`}
  <//>`;
}

function Request({ task: { request, metadata } }) {
  const objects = [
    [t("field.modelOptions"), request.modelOptions],
    [t("field.metadata"), metadata],
  ].filter(([, value]) => Object.keys(value).length > 0);
  return html`<${Card} title=${t("requestId")}>
    <${Facts}
      of=${[
        [t("search.model"), html`<bdi>${request.model}</bdi>`],
        [t("request.reduce"), t(`reduce.${request.reduce}`)],
        [t("request.characters"), request.inputCharacters !== null && whole(request.inputCharacters)],
        [t("request.file"), request.inputFile && html`<code>${request.inputFile}</code>`],
        [t("field.maxChars"), request.chunk.maxChars && whole(request.chunk.maxChars)],
        [t("field.overlapChars"), whole(request.chunk.overlapChars)],
        [t("field.maxOutputTokens"), request.maxOutputTokens && whole(request.maxOutputTokens)],
        [t("field.temperature"), request.temperature !== null && whole(request.temperature)],
      ]}
    />
    ${request.onChunkFailure && html`<${Lazy} name="shape" request=${request} whole />`}
    ${request.instructions && html`<h3>${t("field.instructions")}</h3><${Words} text=${request.instructions} label=${t("field.instructions")} />`}
    ${objects.map(([name, value]) => html`<h3 key=${name}>${name}</h3><${Words} text=${JSON.stringify(value, null, 2)} label=${name} />`)}
  <//>`;
}
