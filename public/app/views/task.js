// The view of one task: its result or why it failed, its cost, why it waits, and its chunks over time.
import { html, useEffect, useMemo, useRef, useState } from "../base/dom.js";
import { Actions, actsOf } from "./actions.js";
import { call } from "../base/api.js";
import { ChunkTable } from "./chunks.js";
import { costOf } from "./cost.js";
import { Deliveries } from "./deliveries.js";
import { useLive } from "./live.js";
import { Output, Ways } from "./output/output.js";
import { absolute, count, covered, span, t, whole } from "../base/i18n.js";
import { announce, Bar, Chip, chunksOf, Copy, Facts, Figures, Freshness, Hint, Lazy, Notice, Quote, Save, shortId, Time, titleOf, Trouble, useTitle, Waiting, Words } from "../base/parts.js";
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
    // The server's `Retry-After` grows while a task does not change. After a change the page asks again within 3 s,
    // even if `Retry-After` is longer.
    const isNews = former?.status !== data.status || settled(former) !== settled(data);
    const polled = Math.min(retryAfter ?? 2, isNews ? SECONDS_MOST : Infinity);
    const after = followed.current ? Math.max(polled, LIVE_SECONDS) : polled;
    // A task may end while model calls are in flight. After the end of a task the page goes on asking until each of its
    // calls is settled or in doubt.
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
      <section class="card" aria-labelledby="waterfall-title">
        <div class="head"><span class="row"><h2 id="waterfall-title">${t("waterfall.title")}</h2><${Hint}>${t("waterfall.derived")}<//></span>
          <span class="row">
            ${!task.error && hasTrouble(task) && html`<button type="button" onClick=${() => setLogged("failed")}>${t("log.toFailed")}</button>`}
            <span class="dim">${task.progress.total !== null && chunksOf(task)}</span>
          </span>
        </div>
        <${Trouble} error=${table.error} />
        <${Waterfall} task=${task} table=${table} selected=${selected} onSelect=${select} />
        ${merging(task) && html`<${Notice}>${merging(task)}<//>`}
      </section>
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

/** Whether the task has failures, calls in doubt or rejected answers, which users look up in the log. */
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

/** What failed, in which chunk, why, and the act that helps. */
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
  const ended = task.finishedAt ? Date.parse(task.finishedAt) : null;
  return html`<section class="card" aria-label=${t("task.standing")}>
    ${progress.total === null
      ? html`<p class="dim">${t(task.terminal ? "chunks.none" : "chunks.checked")}</p>`
      : html`<${Bar} part=${progress.completed} of=${progress.total} label=${chunksOf(task)} tone=${`thick is-${task.status}`} />`}
    ${task.waitingFor && html`<p class="lead"><${Waiting} wait=${task.waitingFor} /></p>`}
    ${task.lastError &&
    !task.error &&
    html`<${Notice} tone="warn">
      ${t("failure.call", { why: t(`why.${task.lastError.code}`) })} <${Quote}>${task.lastError.message}<//> · <${Time} at=${task.lastError.at} /> · ${count("inARow", task.lastError.calls)}
      ${task.lastError.chunk !== null && html` · ${t("chunkName", { n: task.lastError.chunk + 1 })}`}
    <//>`}
    <${Figures}
      of=${[
        [t("bill.calls"), whole(usage.modelCalls), t("bill.minimum", { n: usage.minimumCalls }), true],
        [t("bill.tokens"), `${whole(usage.inputTokens)} → ${whole(usage.outputTokens)}`, t("bill.tokensNote"), usage.inputTokens > 0],
        ...costOf(usage),
        ...(task.coverage === undefined ? [] : [[t("gaps.coverage"), covered(task.coverage), count("gaps.count", task.gaps.length), task.coverage < 1, "warn"]]),
        [t("bill.inDoubt"), whole(usage.inDoubt), t("bill.inDoubtNote"), usage.inDoubt > 0, "warn"],
        ...(usage.rejected === undefined ? [] : [[t("bill.rejected"), whole(usage.rejected), t("bill.rejectedNote", usage), usage.rejected > 0, "warn"]]),
        [t("cutOffTitle"), whole(progress.truncated), t("cutOffNote"), progress.truncated > 0, "warn"],
      ]}
    />
    <${Facts}
      of=${[
        [t("column.route"), t(`route.${task.route}`)],
        [t("gaps.retryOf"), task.retryOf && html`<a href=${href("task", task.retryOf)}><code>${shortId(task.retryOf)}</code></a>`],
        [t("attempts"), whole(task.attempts), t("attemptsHint")],
        [t("search.time"), html`<${Time} at=${task.createdAt} both />`],
        [t("startedAt"), task.startedAt && html`<${Time} at=${task.startedAt} both />`],
        [t("finishedAt"), task.finishedAt && html`<${Time} at=${task.finishedAt} both />`],
        [t("took"), ended && span(ended - Date.parse(task.createdAt))],
        [t("estimated"), task.estimatedFinishAt && html`<${Time} at=${task.estimatedFinishAt} both />`, t("estimatedHint")],
        [t("deadlineAt"), task.deadlineAt && html`<${Time} at=${task.deadlineAt} both />`],
        [t("budget"), task.maxModelCalls && count("calls", task.maxModelCalls)],
        [t("expiresAt"), task.expiresAt && absolute(task.expiresAt)],
      ]}
    />
    <div class="row hint">${t("id")} <code class="wrap">${task.id}</code><${Lazy} name="share" hash=${href("task", task.id)} path=${taskPath(task.id)} id=${task.id} /></div>
  </section>`;
}

function Result({ task }) {
  if (!task.result) return null;
  const { output, value } = task.result;
  const isShaped = value !== undefined; // by a schema: then each output is JSON
  const outputs = Array.isArray(output) ? output.filter((one) => one !== null) : null;
  const text = !outputs ? output : isShaped ? `[${output.map((one) => one ?? "null").join(",")}]` : outputs.join("\n\n");
  return html`<section class="card" aria-labelledby="result-title">
    <div class="head">
      <h2 id="result-title">${t("result.title")}</h2>
      ${!isShaped && html`<div class="row"><${Ways} /><${Copy} text=${text} /><${Save} text=${text} name=${`onceover-${task.id}.txt`} /></div>`}
    </div>
    ${task.progress.truncated > 0 && html`<${Notice} tone="warn">${count("result.truncated", task.progress.truncated)}<//>`}
    ${task.gaps?.length > 0 && html`<${Notice} tone="warn">${count("result.gaps", task.gaps.length, { share: covered(task.coverage) })}<//>`}
    ${outputs && html`<p class="hint">${count(isShaped ? "result.values" : "result.list", outputs.length)}</p>`}
    ${isShaped
      ? html`<${Lazy} name="value" text=${text} label=${t("result.title")} file=${`onceover-${task.id}.json`} />`
      : html`<${Output} texts=${outputs ?? [output]} label=${t("result.title")} tall />`}
    ${task.result.quotes?.length > 0 && html`<${Lazy} name="quotes" result=${task.result} />`}
  </section>`;
}

function Request({ task: { request, metadata } }) {
  const objects = [
    [t("field.modelOptions"), request.modelOptions],
    [t("field.metadata"), metadata],
  ].filter(([, value]) => Object.keys(value).length > 0);
  return html`<section class="card" aria-labelledby="request-title">
    <h2 id="request-title">${t("requestId")}</h2>
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
  </section>`;
}
