// Reads a batch without its lines, so a batch of 20,000 lines costs no more than one of ten.
import { call, now } from "../../base/api.js";

const ENDED = ["completed", "failed", "expired", "cancelled"];
const NEWS_SECONDS = 3; // between two looks at a batch after a change
const QUIET_SECONDS = 15; // a batch that is asked so seldom counts as quiet
const SHARE = 0.1; // of the time for which its files have been completed, a batch is left alone
const ROWS = 10; // that the task and the batch take

export const hasEnded = ({ status }) => ENDED.includes(status);

/**
 * Reads the batch of a task that was read just before. In `former` and in the result, `of` is the batch as
 * `/v1/batches` shows it. `taskAfter` is the `Retry-After` of the task's answer.
 */
export async function readBatch(task, former, taskAfter, signal) {
  const { data: of, retryAfter } = await call("GET", `/v1/batches/${encodeURIComponent(task.batch)}`, { signal });
  const data = { ...task, of };
  // While a batch's files are being completed, `Retry-After` is always one second. If the bucket is away, this
  // can last long, so the page waits longer.
  const completing = task.finishedAt ? (SHARE * (now() - Date.parse(task.finishedAt))) / 1000 : 0;
  const polled = Math.max(retryAfter ?? taskAfter ?? NEWS_SECONDS, completing);
  const after = newsOf(former) === newsOf(data) ? polled : Math.min(polled, NEWS_SECONDS);
  return { data, active: after < QUIET_SECONDS, after, rows: ROWS, requests: 2, done: task.terminal && hasEnded(of) };
}

const newsOf = (data) => data && `${data.of.status} ${data.of.request_counts.completed} ${data.of.request_counts.failed}`;
