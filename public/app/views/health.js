// The view of the deployment's health: what is wrong, in words, then its parts and the last hours.
import { html, useState } from "../base/dom.js";
import { call, callAnyway, now } from "../base/api.js";
import { bytes, clock, count, percent, relative, span, t, whole } from "../base/i18n.js";
import { announce, Bar, Card, Facts, Freshness, Hint, Lazy, Notice, Quote, Time, Trouble, useTitle } from "../base/parts.js";
import { mayWrite } from "../base/prefs.js";
import { useRefresh } from "../base/refresh.js";
import { go, href } from "../base/route.js";
import { History, HOURS, hoursOf, readPast } from "./history.js";

const BUSY_SECONDS = 60; // between two looks while tasks run
const FIRST_SECONDS = 30; // for so long tasks may wait for a queue's first message
const FULL = 0.9; // of a limit
const HOUR = 3_600_000; // milliseconds
const SWEEP_MS = 900_000; // a sweep runs each minute, and its time may be five minutes old
// Failures that a retry of the same request meets again.
const LASTING = ["structured_output_unsupported", "invalid_batch", "invalid_input", "input_missing", "budget_exhausted", "cost_exhausted"];

export function Health({ query }) {
  useTitle(t("nav.health"));
  const hours = hoursOf(query);
  const [retried, setRetried] = useState(""); // the code whose tasks are to be retried
  const state = useRefresh(`health ${hours}`, async (signal) => {
    const [service, model, past] = await Promise.all([readService(), callAnyway("/api/ai-status"), readPast(hours, signal)]);
    const { backlog } = service;
    const rows = 10 + past.rows + 2 * (backlog ? backlog.pending + backlog.processing : 0);
    return { data: { service, model: model.data ?? {}, ...past }, active: backlog?.processing > 0, after: BUSY_SECONDS, rows, requests: 5 };
  });
  const { data } = state;
  return html`
    <div class="head">
      <h1>${t("nav.health")}</h1>
      <div class="row">
        <label for="hours">${t("history.hours")}</label>
        <select id="hours" value=${hours} onChange=${(event) => go("health", "", { hours: event.target.value })}>
          ${HOURS.map((each) => html`<option key=${each} value=${each}>${count("hours", each)}</option>`)}
        </select>
      </div>
      <${Freshness} state=${state} />
    </div>
    <${Trouble} error=${state.error} />
    ${data &&
    html`<${Verdict} of=${data} hours=${hours} onRetry=${setRetried} onChange=${state.again} />
      <${Trouble} error=${data.error} />
      <div class="cards">${cardsOf(data)}</div>
      ${!data.service.backlog && html`<${Notice}>${t("health.operators")}<//>`}
      ${data.history && html`<${History} history=${data.history} hours=${hours} />`}`}
    ${retried && html`<${Lazy} name="bulk" kind="retry" code=${retried} after=${begun(hours)} before="" onChange=${state.again} onClose=${() => setRetried("")} />`}
  `;
}

const begun = (hours) => new Date(now() - hours * HOUR).toISOString();

/** Reads the state of the service; the answer to an operator's key has more parts. */
async function readService() {
  const verbose = await callAnyway("/api/async-status?verbose=1");
  if (verbose.status === 401 || verbose.status === 403) return (await callAnyway("/api/async-status")).data;
  return verbose.data;
}

function Verdict({ of: { service, model, past }, hours, onRetry, onChange }) {
  const codes = (failures) => html`<${Codes} of=${failures} hours=${hours} onRetry=${onRetry} />`;
  return html`<section class="card" aria-label=${t("verdict.title")}>
    ${isWrong(service) && html`<p class="big">${t("verdict.service", { status: lower(service.status) })} ${service.detail && html`<${Quote}>${service.detail}<//>`}</p>`}
    ${isWrong(model) &&
    html`<p class="big">
      ${t(model.since ? "verdict.modelSince" : "verdict.model", { status: lower(model.status), time: model.since && clock(model.since) })}
      ${model.detail && html` <${Quote}>${model.detail}<//>`}
    </p>`}
    ${model.waiting > 0 && html`<p>${count("verdict.waiting", model.waiting)}</p>`}
    ${service.backlog && html`<${Resume} waiting=${model.waiting} onChange=${onChange} />`}
    ${model.codes?.length > 0 && html`<p>${t("verdict.calls", { why: model.codes.map(shareOf).join(t("verdict.comma")) })}</p>`}
    ${isLate(service) && html`<p class="big">${t("verdict.sweep", { time: relative(service.lastSweepAt) })}</p>`}
    ${isStuck(service) && html`<p class="big">${t("verdict.queue", { span: span(service.backlog.oldestPendingSeconds * 1000) })}</p>`}
    ${service.files?.incomplete > 0 && html`<p class="big">${count("verdict.bucket", service.files.incomplete)}</p>`}
    ${!past && !isWrong(service) && !isWrong(model) && html`<p class="big">${t("verdict.fine")}</p>`}
    ${past &&
    html`<p class="big">
      ${past.tasks === 0 ? t("verdict.nothing", { span: count("hours", hours) }) : count(past.failed > 0 ? "verdict.failed" : "verdict.none", past.tasks, { failed: past.failed, span: count("hours", hours) })}${past.failed > 0 && codes(past.failures)}${past.more && ` ${t("verdict.more")}`}
    </p>`}
    ${past?.ofAll && past.failed > 0 && html`<p>${t("verdict.all")}</p>`}
  </section>`;
}

/** A button for operators that ends the pauses of waiting tasks, and what came of it. */
function Resume({ waiting, onChange }) {
  const [{ busy, done, error }, setState] = useState({});
  const resume = async () => {
    setState({ busy: true });
    try {
      const { data } = await call("POST", "/api/sweep", { body: { resume: true } });
      setState({ done: data.probed });
      announce(data.probed.map(({ model, answered }) => `${model} ${t(`resume.${answered}`)}`).join(" ") || t("resume.none"));
      onChange();
    } catch (trouble) {
      setState({ error: trouble });
    }
  };
  return html`
    ${waiting > 0 &&
    html`<div class="row">
      <button type="button" class="primary" aria-disabled=${busy} onClick=${() => busy || resume()}>${t("resume")}</button>
      <${Hint}>${t("resume.hint")}<//>
    </div>`}
    ${done && html`<p>${done.length === 0 ? t("resume.none") : done.map(({ model, answered }) => html`<span key=${model}><bdi>${model}</bdi> ${t(`resume.${answered}`)} </span>`)}</p>`}
    <${Trouble} error=${error} />
  `;
}

/** Failures as a list in a sentence. Each leads to its tasks, and offers a retry if that can help. */
const Codes = ({ of, hours, onRetry }) => html`${of.map(({ code, tasks }, at) => {
  const show = html`<a href=${href("tasks", "", { status: "failed", code, after: begun(hours) })}>${t("verdict.show")}</a>`;
  const retry = mayWrite() && !LASTING.includes(code) && html`${t("verdict.comma")}<button type="button" class="link" onClick=${() => onRetry(code)}>${t("verdict.retry")}</button>`;
  const because = t("verdict.because", { n: tasks, why: t(`why.${code}`) });
  return html`<span key=${code}>${because}${t("verdict.open")}${show}${retry}${t("verdict.close")}${t(at < of.length - 1 ? "verdict.comma" : "verdict.end")}</span>`;
})}`;

const shareOf = ({ code, share }) => t("verdict.share", { share: percent(share), why: t(`why.${code}`) });
const lower = (status) => t(`health.${status}`).toLowerCase();
const isWrong = ({ status }) => status !== "healthy";
const isLate = ({ lastSweepAt }) => Boolean(lastSweepAt) && now() - Date.parse(lastSweepAt) > SWEEP_MS;

/** Whether tasks wait for a queue that has never delivered a message. */
const isStuck = ({ backlog, queueCheck, lastQueueAt }) => queueCheck.hasAIQueue && !lastQueueAt && backlog?.oldestPendingSeconds > FIRST_SECONDS;

/** The parts of the deployment, those with trouble first. */
function cardsOf({ service, model }) {
  const { backlog, storage, usage } = service;
  const isUsed = usage && Object.values(usage).some(({ used, limit }) => used > limit * FULL);
  return [
    [isWrong(model), html`<${Model} of=${model} />`],
    [isWrong(service), html`<${Service} of=${service} />`],
    [isLate(service) || isStuck(service), backlog && html`<${Backlog} of=${service} />`],
    [storage?.bytes > storage?.most * FULL, storage && html`<${Storage} of=${storage} />`],
    [isUsed, usage && html`<${Usage} of=${usage} />`],
  ]
    .sort(([one], [other]) => Boolean(other) - Boolean(one))
    .map(([, card]) => card);
}

const State = ({ status }) => html`<span class=${`chip is-${status}`}>${t(`health.${status}`)}</span>`;

const Service = ({ of: { status, queueCheck } }) =>
  html`<${Card} title=${t("health.service")} beside=${html`<${State} status=${status} />`}>
    <${Facts}
      of=${[
        [t("health.queue"), t(queueCheck.hasAIQueue ? "bound" : "notBound")],
        [t("health.dlq"), t(queueCheck.hasAIDLQ ? "bound" : "notBound")],
        [t("health.objects"), t(queueCheck.hasDurableObjects ? "bound" : "notBound")],
      ]}
    />
  <//>`;

const Model = ({ of: { status, provider, model, checkedAt } }) =>
  html`<${Card} title=${t("search.model")} beside=${html`<${State} status=${status} />`}>
    <${Facts}
      of=${[
        [t("search.model"), model && html`<bdi>${model}</bdi>`],
        [t("health.provider"), provider],
        [t("health.checked"), checkedAt && html`<${Time} at=${checkedAt} />`],
      ]}
    />
  <//>`;

const Backlog = ({ of: { backlog, lastSweepAt, lastQueueAt, lastAlarmAt } }) =>
  html`<${Card} title=${t("health.backlog")} hint=${t("health.backlogHint")}>
    <${Facts}
      of=${[
        [t("status.pending"), whole(backlog.pending)],
        [t("status.processing"), whole(backlog.processing)],
        [t("health.oldest"), backlog.oldestPendingSeconds !== null && span(backlog.oldestPendingSeconds * 1000)],
        [t("health.sweep"), html`<${Time} at=${lastSweepAt} />`],
        [t("health.lastQueue"), lastQueueAt && html`<${Time} at=${lastQueueAt} />`],
        [t("health.lastAlarm"), lastAlarmAt && html`<${Time} at=${lastAlarmAt} />`],
      ]}
    />
  <//>`;

const Storage = ({ of: { bytes: size, most } }) =>
  html`<${Card} title=${t("health.database")} hint=${t("health.storageHint")}>
    <p>${bytes(size)} <small class="dim">${t("ofLimit", { limit: bytes(most), share: percent(size / most) })}</small></p>
    <${Bar} part=${size} of=${most} label=${t("health.database")} tone=${size > most * FULL ? "is-failed" : ""} />
  <//>`;

const Usage = ({ of: { day, ...allowances } }) =>
  html`<${Card} title=${t("health.usage", { day })} hint=${t("health.usageHint")}>
    ${Object.entries(allowances).map(
      ([name, { used, limit }]) => html`<div key=${name} class="allowance">
        <span>${t(`usage.${name}`)}</span><span class="number">${whole(used)} / ${whole(limit)}</span>
        <${Bar} part=${used} of=${limit} label=${t(`usage.${name}`)} tone=${used > limit * FULL ? "is-failed" : ""} />
      </div>`,
    )}
  <//>`;
