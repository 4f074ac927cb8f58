// What the page knows of a task's chunks: the times and the status of each. The page does not keep a chunk's text, so
// 5,000 chunks take little memory.
import { call } from "../base/api.js";

const PAGE = 250; // chunks a request; long outputs make the server's pages shorter
const BACKOFFS = ["backoff", "rate_limited", "model_away"]; // reasons for which a call that failed waits

export class ChunkTable {
  constructor(id) {
    this.id = id;
    this.known = []; // by index
    this.completed = 0;
    this.failed = 0; // with gaps, as the API counts them
    this.groups = new Map(); // chunks whose calls a lane timed together, by lane and times
    this.seen = new Map(); // announced calls of chunks, and by when each had been announced
    this.error = null;
    this.syncing = false;
  }

  /** Reads the chunks that have finished since the last read, and calls `news` after each page. */
  async sync(task, signal, news) {
    this.#note(task);
    if (this.syncing || this.#isCurrent(task)) return;
    this.syncing = true;
    this.error = null;
    try {
      let cursor = this.#missing(0, task);
      while (cursor < task.progress.total && !this.#isCurrent(task)) {
        const { data } = await call("GET", `/api/tasks/${this.id}/chunks?limit=${PAGE}&cursor=${cursor}`, { signal });
        for (const chunk of data.chunks) this.keep(chunk);
        news();
        if (data.nextCursor === null) break;
        cursor = this.#missing(data.chunks.at(-1).index + 1, task);
      }
    } catch (error) {
      if (!signal.aborted) this.error = error;
    } finally {
      this.syncing = false;
      news();
    }
  }

  /** How many calls of a lane share this chunk's times, because the lane timed them together. */
  together(index) {
    return this.groups.get(this.known[index]?.group)?.size ?? 1;
  }

  #isCurrent({ progress }) {
    return this.completed >= progress.completed && this.failed >= progress.failed;
  }

  /** The first chunk from `index` on that may still change. Chunks with an output or a gap do not. */
  #missing(index, task) {
    let at = index;
    while (at < task.progress.total && this.known[at] && (task.terminal || this.known[at].status !== "failed")) at += 1;
    return at;
  }

  /** Stores a chunk as the API shows it. */
  keep({ output, startedAt, finishedAt, firstStartedAt, ...chunk }) {
    const former = this.known[chunk.index];
    this.seen.delete(chunk.index); // its call is no longer out
    if (former) this[tallyOf(former)] -= 1;
    this[tallyOf(chunk)] += 1;
    const begun = startedAt === null ? null : Date.parse(startedAt);
    const ended = finishedAt === null ? null : Date.parse(finishedAt);
    const first = chunk.attempts > 1 && firstStartedAt ? Date.parse(firstStartedAt) : null; // of several calls
    const group = chunk.lane === null || begun === null ? "" : `${chunk.lane} ${begun} ${ended}`;
    this.groups.get(former?.group)?.delete(chunk.index);
    if (group) this.groups.set(group, (this.groups.get(group) ?? new Set()).add(chunk.index));
    this.known[chunk.index] = { ...chunk, size: output?.length ?? 0, first, begun, ended, group };
  }

  #note({ calls, progress }) {
    if (progress.failed < this.failed) {
      for (const [index, chunk] of this.known.entries()) if (chunk && tallyOf(chunk) === "failed") delete this.known[index];
      this.failed = 0;
    }
    const announced = Date.parse(calls.announcedAt ?? "");
    const out = new Set(calls.out.filter(({ level }) => level === 0).map(({ index }) => index));
    for (const index of this.seen.keys()) if (!out.has(index)) this.seen.delete(index);
    for (const index of out) if (!this.seen.has(index)) this.seen.set(index, announced);
  }
}

const tallyOf = ({ status }) => (status === "completed" ? "completed" : "failed");

/** Reads one chunk with its output, or null if the chunk has not finished. */
export async function readChunk(id, index, signal) {
  const { data } = await call("GET", `/api/tasks/${id}/chunks?limit=1&cursor=${index}`, { signal });
  return data.chunks[0]?.index === index ? data.chunks[0] : null;
}

/** Returns the state of a chunk as one word. */
export function stateOf(index, table, task, { doubted, gaps }) {
  const chunk = table.known[index];
  if (gaps.has(index) && chunk?.status !== "completed") return "gap";
  if (chunk) return chunk.status === "failed" ? "failed" : isCut(chunk) ? "cut" : "done";
  if (table.seen.has(index)) return "out";
  if (doubted.has(index)) return "doubt";
  if (BACKOFFS.includes(task.waitingFor?.reason) && task.lastError?.chunk === index) return "backoff";
  return task.terminal ? "unmade" : "queued";
}

export const isCut = (chunk) => chunk.finishReason === "length" || chunk.finishReason === "content_filter";

/** What a task's own data say of its chunks: calls in doubt, and each gap's code. */
export const saidOf = ({ calls, gaps = [] }) => ({
  doubted: new Set(calls.inDoubt.filter(({ level }) => level === 0).map(({ index }) => index)),
  gaps: new Map(gaps.map(({ chunk, code }) => [chunk, code])),
});
