// The view of the deployment's health: service, model, triggers, backlog, database, the use of the daily allowances,
// and the last hours.
import { html } from "../base/dom.js";
import { callAnyway } from "../base/api.js";
import { bytes, percent, span, t, whole } from "../base/i18n.js";
import { Bar, Facts, Freshness, Notice, Time, Trouble, useTitle } from "../base/parts.js";
import { useRefresh } from "../base/refresh.js";
import { History } from "./history.js";

export function Health({ query }) {
  useTitle(t("nav.health"));
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
    <${History} query=${query} />
  `;
}

/** Reads the state of the service; the answer to an operator's key has more parts. */
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
