// How the deployment is: service, model, triggers, backlog, database, the day's allowances, and the last hours.
import { html } from "../base/dom.js";
import { call, callAnyway, now } from "../base/api.js";
import { bytes, count, percent, span, t, whole } from "../base/i18n.js";
import { Bar, Facts, Freshness, Notice, Time, Trouble } from "../base/parts.js";
import { evenly, Plot } from "./plots.js";
import { useRefresh } from "../base/refresh.js";
import { go } from "../base/route.js";

const HOURS = [1, 6, 24, 48];
const ROWS_AN_HOUR = 100; // four rows for each five minutes, and as much again for what is added up before

export function Health({ query }) {
  const state = useRefresh("health", async () => {
    const [service, model] = await Promise.all([readService(), callAnyway("/api/ai-status")]);
    const { backlog } = service;
    const active = Boolean(backlog && backlog.processing > 0 && backlog.processing + backlog.pending < 100);
    const rows = 10 + 2 * (backlog ? backlog.pending + backlog.processing : 0);
    return { data: { service, model: model.data }, active, after: 15, rows, requests: 4 };
  });
  const { data } = state;
  return html`
    <div class="head"><h1>${t("nav.health")}</h1></div>
    <${Freshness} state=${state} scope=${t("health.scope")} />
    <${Trouble} error=${state.error} />
    ${data &&
    html`<div class="cards">
      ${data.service.backlog && html`<${Backlog} of=${data.service} />`}
      <${Service} of=${data.service} />
      <${Model} of=${data.model} />
      ${data.service.storage && html`<${Storage} of=${data.service.storage} />`}
      ${data.service.usage && html`<${Usage} of=${data.service.usage} />`}
    </div>
    ${!data.service.backlog && html`<${Notice}>${t("health.operators")}<//>`}`}
    <${History} hours=${HOURS.includes(Number(query.hours)) ? Number(query.hours) : 6} />
  `;
}

/** The service, with what operators see if the key is theirs, and without it if not. */
async function readService() {
  const verbose = await callAnyway("/api/async-status?verbose=1");
  if (verbose.status === 401 || verbose.status === 403) return (await callAnyway("/api/async-status")).data;
  return verbose.data;
}

const State = ({ status }) => html`<span class=${`chip is-${status}`}>${t(`health.${status}`)}</span>`;

const Service = ({ of: { status, service, architecture, queueCheck, detail } }) =>
  html`<section class="card" aria-labelledby="service-title">
    <div class="head"><h2 id="service-title">${t("health.service")}</h2><${State} status=${status} /></div>
    ${detail && html`<${Notice} tone="bad">${detail}<//>`}
    <${Facts}
      of=${[
        [t("health.kind"), service],
        [t("health.architecture"), architecture],
        [t("health.queue"), t(queueCheck.hasAIQueue ? "bound" : "notBound")],
        [t("health.dlq"), t(queueCheck.hasAIDLQ ? "bound" : "notBound")],
        [t("health.objects"), t(queueCheck.hasDurableObjects ? "bound" : "notBound")],
      ]}
    />
  </section>`;

const Model = ({ of: { status, provider, model, checkedAt, detail } }) =>
  html`<section class="card" aria-labelledby="model-title">
    <div class="head"><h2 id="model-title">${t("health.model")}</h2><${State} status=${status} /></div>
    <${Facts}
      of=${[
        [t("request.model"), html`<bdi>${model}</bdi>`],
        [t("health.provider"), provider],
        [t("health.checked"), html`<${Time} at=${checkedAt} />`],
        [t("health.says"), html`<bdi>${detail}</bdi>`],
      ]}
    />
  </section>`;

const Backlog = ({ of: { backlog, lastSweepAt, lastQueueAt, lastAlarmAt } }) =>
  html`<section class="card" aria-labelledby="backlog-title">
    <h2 id="backlog-title">${t("health.backlog")}</h2>
    <div class="figures">
      <div class="figure"><span>${t("status.pending")}</span><strong>${whole(backlog.pending)}</strong><small>${t("health.allTenants")}</small></div>
      <div class="figure"><span>${t("status.processing")}</span><strong>${whole(backlog.processing)}</strong><small>${t("health.allTenants")}</small></div>
    </div>
    <${Facts}
      of=${[
        [t("health.oldest"), backlog.oldestPendingSeconds !== null && span(backlog.oldestPendingSeconds * 1000)],
        [t("health.sweep"), html`<${Time} at=${lastSweepAt} />`, t("health.seenHint")],
        [t("health.lastQueue"), html`<${Time} at=${lastQueueAt} />`, t("health.seenHint")],
        [t("health.lastAlarm"), html`<${Time} at=${lastAlarmAt} />`, t("health.seenHint")],
      ]}
    />
    <p class="hint">${t("health.seenHint")}</p>
  </section>`;

const Storage = ({ of: { bytes: size, most } }) =>
  html`<section class="card" aria-labelledby="storage-title">
    <h2 id="storage-title">${t("health.database")}</h2>
    <p class="big">${bytes(size)} <small class="dim">${t("ofLimit", { limit: bytes(most), share: percent(size / most) })}</small></p>
    <${Bar} part=${size} of=${most} label=${t("health.database")} tone=${size > most * 0.9 ? "is-failed" : ""} />
    <p class="hint">${t("health.storageHint")}</p>
  </section>`;

const Usage = ({ of: { day, ...allowances } }) =>
  html`<section class="card" aria-labelledby="usage-title">
    <h2 id="usage-title">${t("health.usage", { day })}</h2>
    ${Object.entries(allowances).map(
      ([name, { used, limit }]) => html`<div key=${name} class="allowance">
        <span>${t(`usage.${name}`)}</span><span class="number">${whole(used)} / ${whole(limit)}</span>
        <${Bar} part=${used} of=${limit} label=${t(`usage.${name}`)} tone=${used > limit * 0.9 ? "is-failed" : ""} />
      </div>`,
    )}
    <p class="hint">${t("health.usageHint")}</p>
  </section>`;

function History({ hours }) {
  const state = useRefresh(`history ${hours}`, async (signal) => {
    try {
      const { data } = await call("GET", `/api/history?hours=${hours}`, { signal });
      return { data, active: false, rows: hours * ROWS_AN_HOUR };
    } catch (error) {
      if (![401, 403, 404].includes(error.status)) throw error;
      return { data: { missing: error.status }, active: false, done: true };
    }
  });
  const { data } = state;
  return html`<section aria-labelledby="history-title">
    <div class="head">
      <h2 id="history-title">${t("history.title")}</h2>
      <div class="row">
        <label for="hours">${t("history.hours")}</label>
        <select id="hours" value=${hours} onChange=${(event) => go("health", "", { hours: event.target.value })}>
          ${HOURS.map((each) => html`<option key=${each} value=${each}>${count("hours", each)}</option>`)}
        </select>
      </div>
    </div>
    <${Trouble} error=${state.error} />
    ${data?.missing && html`<${Notice}>${t(data.missing === 404 ? "history.absent" : "history.operators")}<//>`}
    ${data?.buckets && html`<${Freshness} state=${state} scope=${t("history.scope", { rows: hours * 48 })} /><${Plots} history=${data} />`}
  </section>`;
}

function Plots({ history }) {
  const { times, buckets } = evenly(history, now());
  const sums = (name) => buckets.map((bucket) => bucket?.[name] ?? 0);
  const known = (read) => buckets.map((bucket) => (bucket && read(bucket)) ?? null);
  const note = t("plot.five");
  const plots = [
    ["history.throughput", note, whole, true, [["status.completed", "good", sums("completed")], ["status.failed", "bad", sums("failed")], ["status.cancelled", "dull", sums("cancelled")]]],
    ["history.latency", t("plot.took"), span, false, [["p50", "first", known(({ took }) => took.p50Ms)], ["p95", "second", known(({ took }) => took.p95Ms)]]],
    ["history.backlog", t("plot.sample"), whole, false, [["status.pending", "first", known(({ backlog }) => backlog?.pending)], ["status.processing", "second", known(({ backlog }) => backlog?.processing)]]],
    ["history.trouble", note, whole, true, [["history.retries", "first", sums("retries")], ["history.inDoubt", "warn", sums("inDoubt")], ["history.deadLetters", "bad", sums("deadLetters")]]],
  ];
  return html`<div class="plots">
    ${plots.map(
      ([title, words, form, columns, series]) => html`<${Plot}
        key=${title}
        title=${t(title)}
        note=${words}
        times=${times}
        form=${form}
        columns=${columns}
        series=${series.map(([name, tone, values]) => ({ name: t(name), tone, values }))}
      />`,
    )}
  </div>`;
}
