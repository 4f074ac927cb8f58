"""`python -m bench.dashboard` measures the dashboard with 10,000 small tasks and one of 5,000 chunks.

The program also measures what an open page costs while nothing happens. The measurement takes a few minutes, because
the built-in model really processes the long task. The measured figures depend on this machine and its load, so the load
average is printed with them.
"""

import json
import os
import sqlite3
import statistics
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page

from tests.support.browser import Watched, chromium
from tests.support.client import Client
from tests.support.databases import d1_file
from tests.support.dev_server import DevServer

TASKS = 10_000
CHUNKS = 5_000
CHUNK_CHARS = 200
CHUNKS_A_PAGE = 250  # the number of chunks that public/app/views/chunks.js loads in one request
LOADS = 7
SCROLLS = 120
IDLE_MINUTES = 10
REQUESTS_A_MINUTE, ROWS_A_MINUTE = 4, 200  # the bounds of what an open dashboard page may cost while nothing happens

_WATCH_LONG_TASKS = """
window.long = [];
new PerformanceObserver((list) => window.long.push(...list.getEntries().map(({ duration }) => duration)))
  .observe({ type: "longtask", buffered: true });
"""
# This script records when an element first exists and its frame has been drawn, in milliseconds of the page's clock.
_WATCH_FIRST_VIEW = """window.firstView = new Promise((seen) => {
  const observer = new MutationObserver(() => {
    if (!document.querySelector(SELECTOR)) return;
    observer.disconnect();
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => seen(performance.now());
      port2.postMessage(0);
    });
  });
  observer.observe(document, { childList: true, subtree: true });
})"""
_PAGES_OF_CHUNKS = """performance.getEntriesByType("resource").filter(({ name }) => name.includes("/chunks?")).length"""
# This script scrolls an element step by step, and reports how long each frame took.
_SCROLL = """async ([selector, steps]) => {
  const box = selector ? document.querySelector(selector) : document.scrollingElement;
  const way = box.scrollHeight - box.clientHeight;
  const frames = [];
  for (let step = 1; step <= steps; step += 1) {
    const before = performance.now();
    box.scrollTop = (way * step) / steps;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
    frames.push(performance.now() - before);
  }
  return frames;
}"""


def seed(state: Path) -> tuple[str, str]:
    """Make the long task, and many copies of a small task. Return the ids of the long task and of a small task."""
    with DevServer(state, "--env", "free") as server, Client(server.url) as client:
        small = client.submit("A short text.")["id"]
        client.finished(small)
        line = "A line of the text that has many parts. "
        text = (line * (CHUNK_CHARS // len(line))) * CHUNKS
        long = client.submit(text[: CHUNK_CHARS * CHUNKS], chunk={"maxChars": CHUNK_CHARS})
        print(f"made a task of {long['progress']['total']} chunks, waiting for its end …", file=sys.stderr)
        client.finished(long["id"], 900)
    with closing(sqlite3.connect(d1_file(state))) as database, database:
        hidden = {1, 2, 3}  # the codes by which SQLite marks generated columns
        columns = [name for _, name, *_, kind in database.execute("PRAGMA table_xinfo(tasks)") if kind not in hidden]
        others = ", ".join(
            "printf('local:01a0%04x-0000-7000-8000-%012x', n / 7, n)" if c == "id" else c for c in columns
        )
        database.execute(
            f"WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {TASKS}) "  # noqa: S608
            f"INSERT INTO tasks ({', '.join(columns)}) SELECT {others} FROM up, (SELECT * FROM tasks WHERE id = ?)",
            (f"local:{small}",),
        )
        # Write the sums of the tasks, which cron would write within a minute: the dashboard reads the sums instead of
        # each task.
        database.execute(
            "INSERT INTO folds SELECT wake_at - finished_at, max(finished_at) FROM tasks WHERE true GROUP BY 1"
            " ON CONFLICT DO UPDATE SET until = excluded.until"
        )
    return long["id"], small


def first_view(browser: Browser, url: str, fragment: str, selector: str) -> float:
    """Return the milliseconds from the start of the navigation, with an empty cache, until an element is drawn."""
    tab = Watched(browser, url)
    tab.page.add_init_script(_WATCH_FIRST_VIEW.replace("SELECTOR", json.dumps(selector)))
    tab.open(fragment)
    found = tab.page.evaluate("window.firstView")
    tab.context.close()
    return float(found)


def memory(page: Page) -> tuple[float, int]:
    """Return the megabytes of JavaScript's heap after garbage collection, and the number of the page's nodes."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    session.send("Performance.enable")
    found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    return found["JSHeapUsedSize"] / 1e6, round(found["Nodes"])


def measure(browser: Browser, url: str, fragment: str, ready: str, scrolled: str) -> str:
    """Load a view several times, scroll through it, and report how long the loads and the frames took."""
    views = [first_view(browser, url, fragment, ready) for _ in range(LOADS)]
    tab = Watched(browser, url)
    tab.page.add_init_script(_WATCH_LONG_TASKS)
    tab.open(fragment).locator(ready).first.wait_for()
    tab.settle()
    while scrolled and tab.page.evaluate(_PAGES_OF_CHUNKS) < CHUNKS / CHUNKS_A_PAGE:
        tab.page.wait_for_timeout(100)
    tab.settle()
    loading = tab.page.evaluate("window.long.splice(0)")
    before, _ = memory(tab.page)
    frames = tab.page.evaluate(_SCROLL, [scrolled, SCROLLS])
    scrolling = tab.page.evaluate("window.long")
    after, nodes = memory(tab.page)
    assert tab.faults == [], tab.faults
    tab.context.close()
    return (
        f"first view {statistics.median(views):.0f} ms at the median of {LOADS}, {min(views):.0f} to {max(views):.0f}; "
        f"long tasks while loading: {told(loading)}; "
        f"{SCROLLS} scrolls: {statistics.median(frames):.0f} ms each at the median, long tasks: {told(scrolling)}; "
        f"heap {before:.1f} MB, {after:.1f} MB after scrolling, {nodes} nodes"
    )


def told(durations: list[float]) -> str:
    """Describe how many tasks of the page's main thread took 50 ms or more, and how long they took."""
    if not durations:
        return "none"
    return f"{len(durations)}, {statistics.median(durations):.0f} ms at the median, {max(durations):.0f} ms at most"


def idle(browser: Browser, url: str, fragment: str) -> str:
    """Keep a view open for some minutes of the browser's clock, and describe its cost for each minute."""
    rows = lambda: httpx.get(f"{url}/api/async-status?verbose=1").json()["usage"]["rowsRead"]["used"]  # noqa: E731
    tab = Watched(browser, url)
    tab.page.clock.install()
    tab.open(fragment).get_by_role("heading", level=1).wait_for()
    tab.settle()
    rows_before, before = rows(), len(tab.requests)
    rows_of_asking = rows() - rows_before
    for _ in range(IDLE_MINUTES * 6):
        tab.page.clock.run_for(10_000)
        tab.settle()
    asked = len(tab.requests) - before
    read = rows() - rows_before - 2 * rows_of_asking
    tab.context.close()
    assert asked <= REQUESTS_A_MINUTE * IDLE_MINUTES, f"{fragment}: {asked} requests in {IDLE_MINUTES} minutes"
    assert read <= ROWS_A_MINUTE * IDLE_MINUTES, f"{fragment}: {read} rows read in {IDLE_MINUTES} minutes"
    return f"{asked / IDLE_MINUTES:.1f} requests and {read / IDLE_MINUTES:.0f} rows read a minute"


def main() -> None:
    """Measure the views, and print one line for each."""
    with tempfile.TemporaryDirectory() as folder:
        long, small = seed(Path(folder))
        flags = ("--env", "free", "--limits", "paid", "--cron-every", "3600")
        with DevServer(Path(folder), *flags) as server, chromium() as browser:
            print(f"load average of the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            print(f"list of {TASKS + 2:,} tasks: {measure(browser, server.url, '#/tasks', '.list-row', '')}")
            view = f"#/task/{long}"
            print(f"task of {CHUNKS:,} chunks: {measure(browser, server.url, view, '.fall-row', '.fall')}")
            views = {"list": "#/tasks", "list of one status": "#/tasks?status=failed", "health": "#/health"}
            for name, fragment in {**views, "an ended task": f"#/task/{small}"}.items():
                print(f"open for {IDLE_MINUTES} minutes, {name}: {idle(browser, server.url, fragment)}")


if __name__ == "__main__":
    main()
