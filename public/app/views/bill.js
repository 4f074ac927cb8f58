// What tasks and batches show alike: their bill, the facts of their run, and their latest failure.
import { html } from "../base/dom.js";
import { absolute, count, covered, dollars, span, t, whole } from "../base/i18n.js";
import { Notice, Quote, shortId, Time } from "../base/parts.js";
import { href } from "../base/route.js";

/** The figures of a bill. `minimum` says what the calls are compared with, `tokens` whose tokens are counted. */
export const billOf = ({ usage, progress, coverage, gaps }, minimum, tokens) => [
  [t("bill.calls"), whole(usage.modelCalls), minimum, true],
  [t("bill.tokens"), `${whole(usage.inputTokens)} → ${whole(usage.outputTokens)}`, tokens, usage.inputTokens > 0],
  ...costOf(usage),
  ...(coverage === undefined ? [] : [[t("gaps.coverage"), covered(coverage), count("gaps.count", gaps.length), coverage < 1, "warn"]]),
  [t("bill.inDoubt"), whole(usage.inDoubt), t("bill.inDoubtNote"), usage.inDoubt > 0, "warn"],
  ...(usage.rejected === undefined ? [] : [[t("bill.rejected"), whole(usage.rejected), t("bill.rejectedNote", usage), usage.rejected > 0, "warn"]]),
  [t("cutOffTitle"), whole(progress.truncated), t("cutOffNote"), progress.truncated > 0, "warn"],
];

const costOf = ({ cost }) =>
  cost ? [[t("bill.cost"), dollars(cost.amount), Number(cost.inDoubt) ? t("bill.costNote", { doubt: dollars(cost.inDoubt) }) : "", true]] : [];

export const exact = (at) => at && html`<${Time} at=${at} both />`;

/** The facts of a run. `retry` is the name of the words for what it is a retry of, `times` and `due` are facts of its own. */
export const runOf = (task, retry, created, times, ended, due) => [
  [t("column.route"), t(`route.${task.route}`)],
  [t(retry), task.retryOf && html`<a href=${href("task", task.retryOf)}><code>${shortId(task.retryOf)}</code></a>`],
  [t("attempts"), whole(task.attempts), t("attemptsHint")],
  [t("search.time"), exact(created)],
  ...times,
  [t("finishedAt"), exact(ended)],
  [t("took"), ended > created && span(Date.parse(ended) - Date.parse(created))],
  [t("estimated"), exact(task.estimatedFinishAt), t("estimatedHint")],
  due,
  [t("budget"), task.maxModelCalls && count("calls", task.maxModelCalls)],
  [t("expiresAt"), task.expiresAt && absolute(task.expiresAt)],
];

/** The latest failed calls of a task that has not failed. `part` names the chunk or line, of which `n` is the number. */
export function LastError({ of: { lastError, error }, part }) {
  if (!lastError || error) return null;
  const { code, message, at, calls, chunk } = lastError;
  return html`<${Notice} tone="warn">
    ${t("failure.call", { why: t(`why.${code}`) })} <${Quote}>${message}<//> · <${Time} at=${at} /> · ${count("inARow", calls)}
    ${chunk !== null && html` · ${t(part, { n: chunk + 1 })}`}
  <//>`;
}
