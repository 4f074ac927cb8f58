// The log of a task's model calls, read when the user opens it.
import { html, useEffect, useRef, useState } from "../base/dom.js";
import { call } from "../base/api.js";
import { absolute, count, span, t } from "../base/i18n.js";
import { Notice, Quote, Table, Trouble } from "../base/parts.js";
import { tail, taskPath } from "../base/route.js";

const PAGE = 50;
const OUTCOMES = ["succeeded", "failed", "in_doubt", "out"];
const TONES = { succeeded: "completed", failed: "failed", in_doubt: "degraded", out: "processing" };

/**
 * `outcome` selects calls; empty: all. A batch lists no calls that succeeded, because the times of its answers are not kept.
 * `version` is when the task was read: once it has ended, a new version makes the page read the log again.
 */
export function Attempts({ task, version, outcome, onAsk, onSelect }) {
  const [state, setState] = useState({ rows: null, counts: null, next: null, error: null, busy: true });
  const title = useRef(null);
  const read = async (cursor = null, rows = []) => {
    setState((former) => ({ ...former, busy: true }));
    try {
      const path = `${taskPath(task.id)}/attempts${tail({ outcome, limit: PAGE, cursor })}`;
      const { data } = await call("GET", path);
      setState({ rows: [...rows, ...data.attempts], counts: data.counts, next: data.nextCursor, error: null, busy: false });
    } catch (error) {
      setState((former) => ({ ...former, error, busy: false }));
    }
  };
  useEffect(() => void read(), [outcome, task.status, task.terminal && version]);
  useEffect(() => title.current.focus(), [outcome]);
  const { rows, counts, next, error } = state;
  return html`<section class="card" aria-labelledby="log-title">
    <div class="head">
      <h2 id="log-title" ref=${title} tabindex="-1">${t("log.title")}</h2>
      <div class="row">
        <label for="outcome">${t("log.outcome")}</label>
        <select id="outcome" value=${outcome} onChange=${(event) => onAsk(event.target.value)}>
          ${!task.kind && html`<option value="">${t("all")}</option>`}
          ${OUTCOMES.slice(task.kind ? 1 : 0).map((name) => html`<option key=${name} value=${name}>${t(`outcome.${name}`)}</option>`)}
        </select>
      </div>
    </div>
    <p class="hint" role="status">${counts ? t("log.counts", counts) : !error && t("loading")} ${task.kind && t("batch.lineHint")}</p>
    <${Trouble} error=${error} />
    ${counts?.unlisted > 0 && html`<${Notice}>${count("log.unlisted", counts.unlisted)}<//>`}
    ${rows?.length === 0 && html`<p class="dim">${t("log.none")}</p>`}
    ${rows?.length > 0 &&
    html`<${Table}
      label=${t("log.title")}
      columns=${["log.call", "log.outcome", "startedAt", "took", "log.by", "log.failure"].map((name) => t(name))}
      rows=${rows.map((one) => cells(one, task.kind, onSelect))}
    />`}
    ${next && html`<div class="row"><button type="button" aria-disabled=${state.busy} onClick=${() => state.busy || read(next, rows)}>${t("log.more")}</button></div>`}
  </section>`;
}

function cells(one, kind, onSelect) {
  const { level, index, number, outcome, answered, model, route, lane, startedAt, announcedAt, milliseconds, code, message } = one;
  const name = kind ? t("batch.line", { n: index + 1 }) : level === 0 ? t("chunkName", { n: index + 1 }) : t("log.merge", { level, n: index + 1 });
  const times = number && ` ${t("log.number", { n: number })}`;
  const from = startedAt ?? announcedAt;
  return [
    level === 0 && !kind ? html`<button type="button" class="link" onClick=${() => onSelect(index)}>${name}</button>${times}` : html`${name}${times}`,
    html`<span class=${`chip is-${TONES[outcome]}`}>${t(`outcome.${outcome}`)}</span>`,
    from ? html`<time dateTime=${from}>${absolute(from)}</time>${!startedAt && html` <small class="dim">${t("log.announced")}</small>`}` : "–",
    milliseconds === null ? "–" : span(milliseconds),
    html`${t(`route.${route}`)}${lane && html` · ${t("waterfall.lane", { n: lane })}`} · <bdi>${model}</bdi>`,
    code
      ? html`<code>${code}</code> <${Quote}>${message}<//>${answered === false && html` <small class="warn-text">${t("log.unanswered")}</small>`}`
      : answered === false
        ? html`<small class="warn-text">${t("log.unanswered")}</small>`
        : "",
  ];
}
