// Follows a task by its stream of events while the task changes. The page reads the stream with fetch, because the key
// goes into a header: an EventSource could send the key only in the address.
import { useEffect, useRef, useState } from "../base/dom.js";
import { openStream } from "../base/api.js";
import { taskPath } from "../base/route.js";

const QUIET_MS = 15_000; // without an event for so long the stream is closed, and the page polls: an open one costs reads
const DEAD_MS = 20_000; // the server sends a comment every five seconds
const RETRY_MS = 500; // before a stream that ended early is opened again, unless the stream names a pause
// Without `Last-Event-ID` a stream begins with all finished chunks, which the page has read already. So it opens none for
// a task with more than REPLAY_MOST of them.
const REPLAY_MOST = 200;

/** Cuts a text that arrives in pieces into server-sent events: {name, id, data}, or {retry}. Comments are left out. */
export function cutter() {
  let rest = "";
  return (piece) => {
    const blocks = (rest + piece).split("\n\n");
    rest = blocks.pop();
    return blocks.map(eventOf).filter(({ name, retry }) => name || retry);
  };
}

function eventOf(block) {
  const event = {};
  for (const line of block.split("\n")) {
    const [, field, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (field === "event") event.name = value;
    else if (field === "id") event.id = value;
    else if (field === "data") event.data = JSON.parse(value);
    else if (field === "retry") event.retry = Number(value);
  }
  return event;
}

/** Reads a stream to its end. Calls `onEvent` with each event. Returns the ms until the next try, null after `end`. */
async function readOnce(path, after, controller, onOpen, onEvent) {
  let [dead, quiet] = [];
  const closeLater = (timer, milliseconds) => (clearTimeout(timer), setTimeout(() => controller.abort(), milliseconds));
  let retry = RETRY_MS;
  dead = closeLater(dead, DEAD_MS);
  quiet = closeLater(quiet, QUIET_MS);
  try {
    const response = await openStream(path, { after, signal: controller.signal });
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const cut = cutter();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return retry;
      dead = closeLater(dead, DEAD_MS);
      for (const event of cut(value)) {
        retry = event.retry ?? retry;
        if (!event.name) continue;
        quiet = closeLater(quiet, QUIET_MS);
        onEvent(event);
        if (event.name === "end") return null;
      }
    }
  } finally {
    clearTimeout(dead);
    clearTimeout(quiet);
  }
}

/**
 * Follows a task by its stream when a poll has found a change, and again after each further change that a poll finds.
 * Calls `on` with each event. Returns whether the stream is open now.
 */
export function useLive(task, on) {
  const [live, setLive] = useState(false);
  const latest = useRef(on);
  latest.current = on;
  const own = useRef({ controller: null, last: undefined });
  const news = task && `${task.status} ${task.progress.completed} ${task.calls.announcedAt}`;
  const start = async () => {
    const state = own.current;
    const known = state.last !== undefined || task.progress.completed <= REPLAY_MOST;
    if (state.controller || task.terminal || document.hidden || !known) return;
    const controller = (state.controller = new AbortController());
    try {
      for (let wait = 0; wait !== null && !controller.signal.aborted; ) {
        await new Promise((done) => setTimeout(done, wait));
        wait = await readOnce(`${taskPath(task.id)}/events`, state.last, controller, () => setLive(true), (event) => {
          state.last = event.id ?? state.last;
          latest.current(event);
        });
      }
    } catch {
      // The page goes on polling, and a failed poll shows its own error.
    }
    if (state.controller !== controller) return;
    state.controller = null;
    setLive(false);
  };
  const stop = () => {
    own.current.controller?.abort();
    own.current.controller = null;
    setLive(false);
  };
  useEffect(() => void (news && start()), [news]);
  useEffect(() => {
    const seen = () => document.hidden && stop();
    document.addEventListener("visibilitychange", seen);
    return () => {
      document.removeEventListener("visibilitychange", seen);
      stop();
    };
  }, []);
  return live;
}
