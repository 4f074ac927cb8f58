// Plots of the deployment's last hours, which are shown if the deployment keeps a history and the key may read it.
import { html, useEffect, useState } from "../base/dom.js";
import { call, now } from "../base/api.js";
import { count, span, t, whole } from "../base/i18n.js";
import { Bar, Freshness, Notice, Table, Trouble } from "../base/parts.js";
import { evenly, Plot } from "./plots.js";
import { prefs } from "../base/prefs.js";
import { useRefresh } from "../base/refresh.js";
import { go } from "../base/route.js";

const HOURS = [1, 6, 24, 48];
const CODE_TONES = ["bad", "second", "first"];
const ROWS_AN_HOUR = 100; // four rows for each five minutes, and as much again for what is added up before

/**
 * The least and the greatest time that a quantile can have, by the counts of tasks up to each bound and the sum of
 * their times. The API's own estimate may lie anywhere between two bounds, and so above the time of every task.
 */
export function rangeOf({ count: tasks, sumMs, upTo }, bounds, fraction) {
  if (tasks === 0) return null;
  const place = Math.ceil(fraction * tasks); // of the task that is the quantile, by time
  const least = [0, ...bounds]; // the least time of a task in each range
  const faster = [...upTo, tasks].map((number) => Math.min(number, place - 1));
  const before = least.reduce((sum, time, range) => sum + time * (faster[range] - (faster[range - 1] ?? 0)), 0);
  const at = upTo.findIndex((number) => number >= place);
  // The task at the quantile and every slower task took at least the quantile's time. All tasks faster than the
  // quantile together took at least `before`.
  return [least.at(at), Math.min(bounds[at] ?? Infinity, (sumMs - before) / (tasks - place + 1))];
}

export function History({ query }) {
  const hours = HOURS.includes(Number(query.hours)) ? Number(query.hours) : 6;
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
    <${Failures} key=${hours} hours=${hours} />
  </section>`;
}

function Plots({ history }) {
  const [asTable, setAsTable] = useState(false);
  const { times, buckets } = evenly(history, now());
  const sums = (name) => buckets.map((bucket) => bucket?.[name] ?? 0);
  const quantile = (name, tone, field, fraction) => {
    const ranges = buckets.map((bucket) => (bucket ? rangeOf(bucket.took, history.boundsMs, fraction) : null));
    const values = ranges.map((range, index) => range && Math.min(range[1], Math.max(range[0], buckets[index].took[field])));
    return [name, tone, values, ranges.map((range) => range && (range[0] > 0 ? `${span(range[0])}–${span(range[1])}` : `≤ ${span(range[1])}`))];
  };
  const aMinute = (name) => sums(name).map((number) => (number * 60) / history.bucketSeconds);
  const known = (read) => buckets.map((bucket) => (bucket && read(bucket)) ?? null);
  const note = t("plot.five");
  const plots = [
    ["history.throughput", note, whole, true, [["status.completed", "good", sums("completed")], ["status.failed", "bad", sums("failed")], ["status.cancelled", "dull", sums("cancelled")]]],
    ["history.rate", t("plot.minute"), whole, false, [["status.completed", "good", aMinute("completed")], ["status.failed", "bad", aMinute("failed")]]],
    ["history.latency", t("plot.took"), span, false, [quantile("p50", "first", "p50Ms", 0.5), quantile("p95", "second", "p95Ms", 0.95)]],
    ["history.backlog", t("plot.sample"), whole, false, [["status.pending", "first", known(({ backlog }) => backlog?.pending)], ["status.processing", "second", known(({ backlog }) => backlog?.processing)]]],
    ["history.calls", t("plot.billed"), whole, false, [["history.calls", "first", sums("modelCalls")], ["history.fruitless", "bad", sums("fruitlessCalls")]]],
    ["history.tokens", t("plot.billed"), whole, false, [["history.tokensIn", "first", sums("inputTokens")], ["history.tokensOut", "second", sums("outputTokens")]]],
    ["history.trouble", note, whole, true, [["history.retries", "first", sums("retries")], ["history.inDoubt", "warn", sums("inDoubt")], ["history.deadLetters", "bad", sums("deadLetters")]]],
    ["history.codes", note, whole, true, byCode(buckets)],
    ["history.structured", note, whole, true, [["history.rejected", "bad", sums("rejected")], ["history.reasks", "first", sums("reasks")], ["history.repaired", "good", sums("repaired")], ["history.gaps", "warn", sums("gaps")]]],
  ];
  // The plot of structured output is left out if no task had a schema or gaps.
  const isShown = ([title, , , , series]) => title !== "history.structured" || series.some(([, , values]) => values.some(Boolean));
  return html`<label class="choice inline"><input type="checkbox" checked=${asTable} onChange=${(event) => setAsTable(event.target.checked)} /> <span>${t("plot.table")}</span></label>
  <div class="plots">
    ${plots.filter(isShown).map(
      ([title, words, form, columns, series]) => html`<${Plot}
        key=${title}
        title=${t(title)}
        note=${words}
        times=${times}
        form=${form}
        columns=${columns}
        asTable=${asTable}
        series=${series.map(([name, tone, values, texts]) => ({ name: name.includes(".") ? t(name) : name, tone, values, texts }))}
      />`,
    )}
  </div>`;
}

/** A series of failed tasks for each frequent code, and one series for all other codes together. */
export function byCode(buckets) {
  const tasksWith = (bucket, code) => bucket?.failures?.find((one) => one.code === code)?.tasks ?? 0;
  const seen = new Map();
  for (const { code, tasks } of buckets.flatMap((bucket) => bucket?.failures ?? [])) seen.set(code, (seen.get(code) ?? 0) + tasks);
  const codes = [...seen].sort((one, other) => other[1] - one[1]).map(([code]) => code);
  const shown = codes.slice(0, CODE_TONES.length);
  const series = shown.map((code, index) => [code, CODE_TONES[index], buckets.map((bucket) => tasksWith(bucket, code))]);
  const others = codes.slice(shown.length);
  const rest = (bucket) => others.reduce((sum, code) => sum + tasksWith(bucket, code), 0);
  return others.length > 0 ? [...series, ["history.otherCodes", "dull", buckets.map(rest)]] : series;
}

/** Why the tenant's latest tasks failed, counted on demand, since the count reads up to 500 tasks. */
function Failures({ hours }) {
  const [asked, setAsked] = useState(false);
  const [state, setState] = useState({ tenant: null, error: null });
  useEffect(() => {
    if (!asked) return;
    const whose = prefs().tenant ? `&tenant=${encodeURIComponent(prefs().tenant)}` : "";
    call("GET", `/api/tenants?hours=${hours}${whose}`).then(
      ({ data }) => setState({ tenant: data.tenants[0] ?? { tasks: 0, failed: 0, failures: [] }, error: null }),
      (error) => setState({ tenant: null, error }),
    );
  }, [asked]);
  const { tenant, error } = state;
  return html`<div class="card failures">
    <h3>${t("failures.title")}</h3>
    ${!asked && html`<div class="row"><button type="button" onClick=${() => setAsked(true)}>${t("failures.ask")}</button></div>`}
    <${Trouble} error=${error} />
    ${tenant && html`<p class="hint">${count("failures.among", tenant.tasks, { failed: tenant.failed })}${tenant.more && ` ${t("failures.more")}`}</p>`}
    ${tenant?.failures.length > 0 &&
    html`<${Table}
      label=${t("failures.title")}
      columns=${[t("failures.code"), t("failures.tasks"), t("failures.share")]}
      rows=${tenant.failures.map(({ code, tasks }) => [html`<code>${code}</code>`, whole(tasks), html`<${Bar} part=${tasks} of=${tenant.failed} label=${code} tone="is-failed" />`])}
    />`}
  </div>`;
}
