// Decides when a view reads its data again: every few seconds while tasks change, otherwise less and less often. A hidden
// tab sends no requests.
import { useCallback, useEffect, useRef, useState } from "./dom.js";

const SECOND = 1000;
export const ROWS_A_MINUTE = 200;
export const REQUESTS_A_MINUTE = 4;
const QUIET_STEPS = [15, 15, 30, 60]; // seconds, for each look in a row that found nothing new
const TROUBLE_STEPS = [2, 4, 8, 15, 30, 60];

/**
 * How long to wait. `look` is the result of the last read: `active` (whether tasks change), `after` (seconds that the
 * server or the view asks for), `rows` and `requests` (the cost of a read).
 */
export function pause(look, quiet) {
  const { active, after = 2, rows = 0, requests = 1 } = look;
  if (active) return Math.max(1, after) * SECOND;
  const step = QUIET_STEPS[Math.min(quiet, QUIET_STEPS.length - 1)];
  const dear = Math.max(rows / ROWS_A_MINUTE, requests / REQUESTS_A_MINUTE) * 60;
  return Math.max(step, dear) * SECOND;
}

/**
 * Loads again and again. `load(signal, former)` returns {data, active, after, rows, requests, done}; another `key`
 * means that other data are loaded. Returns {data, error, at, busy, again}.
 */
export function useRefresh(key, load) {
  const [state, setState] = useState({ key, data: null, error: null, at: null, busy: true });
  const latest = useRef(load);
  latest.current = load;
  const wake = useRef(() => {});
  useEffect(() => {
    const run = loop(
      (signal, former) => latest.current(signal, former),
      (next) => setState({ key, ...next }),
    );
    wake.current = run.now;
    return run.stop;
  }, [key]);
  const again = useCallback(() => wake.current(), []);
  const own = state.key === key ? state : { data: null, error: null, at: null, busy: true };
  return { ...own, again };
}

function loop(load, show) {
  const controller = new AbortController();
  let [timer, quiet, trouble, former, running, rerun] = [undefined, 0, 0, null, false, false];
  let shown = { data: null, error: null, at: null };
  const tell = (next) => {
    if (controller.signal.aborted) return;
    shown = { ...shown, ...next };
    show(shown);
  };
  const later = (milliseconds) => {
    clearTimeout(timer);
    if (!controller.signal.aborted && !document.hidden) timer = setTimeout(look, milliseconds);
  };
  async function look() {
    if (running) return void (rerun = true);
    if (document.hidden) return;
    running = true;
    tell({ busy: true });
    try {
      const found = await load(controller.signal, former);
      former = found.data;
      quiet = found.active ? 0 : quiet + 1;
      trouble = 0;
      tell({ data: found.data, error: null, at: Date.now(), busy: false });
      if (!found.done) later(pause(found, quiet - 1));
    } catch (error) {
      if (controller.signal.aborted) return;
      tell({ error, busy: false });
      const wait = TROUBLE_STEPS[Math.min(trouble++, TROUBLE_STEPS.length - 1)];
      if (error.status !== 401 && error.status !== 403 && error.status !== 404) {
        later(Math.max(wait, error.retryAfter ?? 0) * SECOND);
      }
    }
    running = false;
    if (rerun) {
      rerun = false;
      look();
    }
  }
  const seen = () => (document.hidden ? clearTimeout(timer) : look());
  document.addEventListener("visibilitychange", seen);
  look();
  return {
    now: () => {
      quiet = 0;
      clearTimeout(timer);
      look();
    },
    stop: () => {
      controller.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", seen);
    },
  };
}

/** Renders the component again at this interval while its tab is visible. */
export function useNow(milliseconds = 5 * SECOND) {
  const [, setTime] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setTime(Date.now()), milliseconds);
    return () => clearInterval(timer);
  }, [milliseconds]);
}
