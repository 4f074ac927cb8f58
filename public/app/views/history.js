// The last hours: how many tasks failed and why, and plots if the key may read the deployment's history.
import { html, useState } from "../base/dom.js";
import { call, now } from "../base/api.js";
import { dollars, span, t, whole } from "../base/i18n.js";
import { Hint } from "../base/parts.js";
import { evenly, fitted, Plot } from "./plots.js";
import { mayOperate, prefs } from "../base/prefs.js";
import { tail } from "../base/route.js";

/** The spans of time that the view offers. */
export const HOURS = [1, 6, 24, 48];
const CODE_TONES = ["bad", "second", "first"];
const ROWS_AN_HOUR = 100; // four rows for each five minutes, and as much again for what is added up before
const ROWS_OF_A_TENANT = 500; // at most
const UNREADABLE = [401, 403, 404]; // the key may not read it, or there is none

export const hoursOf = (query) => (HOURS.includes(Number(query.hours)) ? Number(query.hours) : 6);

/**
 * Reads the history, null if the key may not, and `past`: how many tasks ended and failed, with which codes. `past` is of
 * all tenants for an operator who has chosen none, else of the tenant's latest tasks. `error` is what went wrong.
 */
export async function readPast(hours, signal) {
  const ask = (path, read) =>
    call("GET", path, { signal }).then(
      ({ data }) => [read(data), null],
      (error) => [null, UNREADABLE.includes(error.status) ? null : error],
    );
  const { tenant } = prefs();
  const [history, error] = await ask(`/api/history?hours=${hours}`, (data) => data);
  if (history && !tenant) return { history, past: { ...sumOf(history), ofAll: mayOperate() }, rows: hours * ROWS_AN_HOUR };
  const [past, trouble] = await ask(`/api/tenants${tail({ hours, tenant })}`, ({ tenants }) => tenants[0] ?? { tasks: 0, failed: 0, failures: [] });
  return { history, past, error: error ?? trouble, rows: (history ? hours * ROWS_AN_HOUR : 0) + ROWS_OF_A_TENANT };
}

/** Adds up the tasks of all steps. */
function sumOf({ buckets }) {
  const sum = (name) => buckets.reduce((all, bucket) => all + bucket[name], 0);
  const failures = codesOf(buckets).map((code) => ({ code, tasks: buckets.reduce((all, bucket) => all + tasksWith(bucket, code), 0) }));
  return { tasks: sum("completed") + sum("failed") + sum("cancelled"), failed: sum("failed"), failures };
}

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

export function History({ history, hours }) {
  const [asTable, setAsTable] = useState(false);
  const { times, buckets } = fitted(evenly(history, now()));
  const sums = (name) => buckets.map((bucket) => bucket?.[name] ?? 0);
  const quantile = (name, tone, field, fraction) => {
    const ranges = buckets.map((bucket) => (bucket ? rangeOf(bucket.took, history.boundsMs, fraction) : null));
    const values = ranges.map((range, index) => range && Math.min(range[1], Math.max(range[0], buckets[index].took[field])));
    return [name, tone, values, ranges.map((range) => range && (range[0] > 0 ? `${span(range[0])}–${span(range[1])}` : `≤ ${span(range[1])}`))];
  };
  const known = (read) => buckets.map((bucket) => (bucket && read(bucket)) ?? null);
  const plots = [
    ["history.codes", whole, true, byCode(buckets)],
    ["history.trouble", whole, true, [["history.retries", "first", sums("retries")], ["chunk.doubt", "warn", sums("inDoubt")], ["history.gaps", "second", sums("gaps")], ["history.deadLetters", "bad", sums("deadLetters")]]],
    ["history.throughput", whole, true, [["status.completed", "good", sums("completed")], ["status.failed", "bad", sums("failed")], ["status.cancelled", "dull", sums("cancelled")]]],
    ["history.latency", span, false, [quantile("p50", "first", "p50Ms", 0.5), quantile("p95", "second", "p95Ms", 0.95)], t("plot.took")],
    ["health.backlog", whole, false, [["status.pending", "first", known(({ backlog }) => backlog?.pending)], ["status.processing", "second", known(({ backlog }) => backlog?.processing)]], t("plot.sample")],
    ["bill.calls", whole, false, [["bill.calls", "first", sums("modelCalls")], ["history.fruitless", "bad", sums("fruitlessCalls")]], t("plot.billed")],
    ["bill.tokens", whole, false, [["history.tokensIn", "first", sums("inputTokens")], ["history.tokensOut", "second", sums("outputTokens")]], t("plot.billed")],
    ["bill.cost", (cost) => dollars(cost.toFixed(9)), false, [["bill.cost", "first", buckets.map((bucket) => Number(bucket?.cost?.amount ?? 0))]], t("plot.billed")],
    ["history.structured", whole, true, [["history.rejected", "bad", sums("rejected")], ["history.reasks", "first", sums("reasks")], ["history.repaired", "good", sums("repaired")]]],
  ];
  // Series without a value above 0, and plots without a series, are left out.
  const shown = plots.map(([title, form, columns, series, hint]) => [title, form, columns, series.filter(([, , values]) => values.some(Boolean)), hint]).filter(([, , , series]) => series.length > 0);
  return html`<section class="history" aria-labelledby="history-title">
    <div class="head">
      <div class="row"><h2 id="history-title">${t("history.title")}</h2><${Hint}>${t("history.scope", { rows: hours * 48 })}<//></div>
      <label class="choice"><input type="checkbox" checked=${asTable} onChange=${(event) => setAsTable(event.target.checked)} /> <span>${t("plot.table")}</span></label>
    </div>
    ${shown.length === 0 && html`<p class="dim">${t("plot.nothing")}</p>`}
    <div class="plots">
      ${shown.map(
        ([title, form, columns, series, hint]) => html`<${Plot}
          key=${title}
          title=${t(title)}
          hint=${hint}
          times=${times}
          form=${form}
          columns=${columns}
          asTable=${asTable}
          series=${series.map(([name, tone, values, texts]) => ({ name: name.includes(".") ? t(name) : name, tone, values, texts }))}
        />`,
      )}
    </div>
  </section>`;
}

/** A series of failed tasks for each frequent code, and one series for all other codes together. */
export function byCode(buckets) {
  const codes = codesOf(buckets);
  const shown = codes.slice(0, CODE_TONES.length);
  const series = shown.map((code, index) => [code, CODE_TONES[index], buckets.map((bucket) => tasksWith(bucket, code))]);
  const others = codes.slice(shown.length);
  const rest = (bucket) => others.reduce((sum, code) => sum + tasksWith(bucket, code), 0);
  return others.length > 0 ? [...series, ["history.otherCodes", "dull", buckets.map(rest)]] : series;
}

const tasksWith = (bucket, code) => bucket?.failures?.find((one) => one.code === code)?.tasks ?? 0;

/** The codes of all failures, the most frequent first. */
function codesOf(buckets) {
  const seen = new Map();
  for (const { code, tasks } of buckets.flatMap((bucket) => bucket?.failures ?? [])) seen.set(code, (seen.get(code) ?? 0) + tasks);
  return [...seen].sort((one, other) => other[1] - one[1]).map(([code]) => code);
}
