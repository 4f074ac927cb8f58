"""Tests a list of 100,000 tasks in the local D1: the list has each task once, and each page costs equally many rows."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from src.kernel.domain.ids import LOCAL, new_task_id, task_key_of
from tests.support import metered
from tests.support.client import Client, Json
from tests.support.databases import d1_file
from tests.support.dev_server import DevServer, eventually

pytestmark = pytest.mark.runtime

FEW, MANY = 1_000, 100_000
PAGE = 100
# The written tasks have a time long ago, so that tasks that are added later come first in the list.
START_MS = 1_700_000_000_000
EVERY = 20  # One in 20 of the written tasks has failed, and all others have completed.


def ids(first: int, behind: int) -> list[str]:
    return [new_task_id(START_MS + number, number.to_bytes(10)) for number in range(first, behind)]


def fill(state: Path, first: int, behind: int) -> None:
    with closing(sqlite3.connect(d1_file(state), timeout=20)) as connection, connection:
        names = [name for _, name, *_ in connection.execute("PRAGMA table_info(tasks)")]
        chosen = f"SELECT {', '.join(names)} FROM tasks ORDER BY id DESC LIMIT 1"  # noqa: S608
        template = dict(zip(names, connection.execute(chosen).fetchone(), strict=True))
        failure = {"status": "failed", "error_code": "model_refused", "error_message": "401", "error_retryable": 0}
        rows = (
            template
            | {"id": task_key_of(LOCAL, id_), "created_at": START_MS + number}
            | (failure if number % EVERY == 0 else {})
            for number, id_ in enumerate(ids(first, behind), first)
        )
        places = ", ".join(f":{name}" for name in names)
        connection.executemany(f"INSERT INTO tasks ({', '.join(names)}) VALUES ({places})", rows)  # noqa: S608


def pages(client: Client, **query: str | int) -> Iterator[Json]:
    cursor = ""
    while cursor is not None:
        answer = client.http.get("/api/tasks", params=query | {"limit": PAGE, "cursor": cursor})
        assert answer.status_code == 200, answer.text
        yield answer.json()
        cursor = answer.json()["nextCursor"]


def dearest(server: DevServer, client: Client, count: int, **query: str | int) -> int:
    """Return the most rows of one of the first `count` pages, again if cron was looked for."""
    found = metered_pages(server, client, count, query)
    if {line["d1_statements"] for line in found} != {1}:
        found = metered_pages(server, client, count, query)
    assert {line["d1_statements"] for line in found} == {1}
    return max(line["rows_read"] for line in found)


def metered_pages(server: DevServer, client: Client, count: int, query: dict[str, str | int]) -> list[Json]:
    before = len(server.lines)
    for number, _ in enumerate(pages(client, **query), 1):
        if number == count:
            break
    done = number  # The number of pages of the list that were read.

    def lines() -> list[Json]:
        found = [line for line in metered.lines(server, before) if line.get("request") == "GET /api/tasks"]
        return found if len(found) >= done else []

    return eventually(lines)


QUERIES: dict[str, dict[str, str | int]] = {
    "all": {},
    "most": {"status": "completed"},
    "some": {"status": "failed"},
    "none": {"status": "cancelled"},
    "a time": {"createdBefore": "2023-11-14T22:14:59.900Z"},
    "a time and some": {"createdAfter": "2023-11-14T22:14:59.100Z", "status": "failed"},
}


class Others(threading.Thread):
    """A thread that in turn adds tasks and erases original tasks, until `enough` is set."""

    def __init__(self, url: str, originals: list[str]) -> None:
        super().__init__()
        self._url, self._originals = url, originals
        self.enough = threading.Event()
        self.added: list[str] = []
        self.deleted: list[str] = []

    def run(self) -> None:
        with Client(self._url) as client:
            while not self.enough.is_set():
                self.added.append(client.submit("one more")["id"])
                victim = self._originals[(len(self.deleted) * 7_919) % len(self._originals)]
                assert client.http.delete(f"/api/tasks/{victim}").status_code == 204
                self.deleted.append(victim)


def scraped(client: Client) -> tuple[float, float]:
    """Return how many rows reading the metrics reads and writes at least, once all ended tasks are in the sums."""
    found = []
    for _ in range(5):
        text = client.http.get("/api/metrics").raise_for_status().text
        samples = {one.name: one.value for family in text_string_to_metric_families(text) for one in family.samples}
        found.append((samples["onceover_scrape_rows_read"], samples["onceover_scrape_rows_written"]))
    assert samples["onceover_counted_until_timestamp_seconds"] > 1
    return min(found)


def test_a_page_of_a_search_reads_a_thousand_rows_at_most(tmp_path: Path) -> None:
    """Of 1,500 tasks a page reads about 1,000 rows by D1's count, and few for an id."""
    searches: list[tuple[dict[str, str | int], int]] = [
        ({"q": "needle"}, 1_000),
        ({"model": "needle"}, 1_000),
        ({"code": "model_timeout", "route": "direct", "q": "needle"}, 1_000),
        ({"status": "completed"}, 1_000),
        ({"counts": "true"}, PAGE + 1 + 500),
        ({"q": "needle", "counts": "true"}, 1_500),
        ({"q": ids(7, 8)[0]}, 1),
        ({"q": ids(7, 8)[0], "counts": "true"}, 2),
    ]
    with DevServer(tmp_path, "--limits", "paid", "--cron-every", "600") as server, Client(server.url) as client:
        client.finished(client.submit("the template")["id"])
        fill(tmp_path, 0, 1_500)
        for query, most in searches:
            found = metered_pages(server, client, 1, query)
            # One invocation may read more rows after its answer, when it checks whether cron has come.
            assert min(line["rows_read"] for line in found) <= most + 10, (query, found)
            assert sum(line["rows_written"] for line in found) == 0, query
        whole = [task["id"] for page in pages(client, q=ids(7, 8)[0]) for task in page["tasks"]]
        assert whole == ids(7, 8)
        failed = [task["id"] for page in pages(client, code="model_refused") for task in page["tasks"]]
        assert failed == ids(0, 1_500)[::EVERY][::-1]


@pytest.mark.campaign
def test_a_hundred_thousand_tasks(tmp_path: Path) -> None:
    with DevServer(tmp_path) as server, Client(server.url) as client:
        template = client.finished(client.submit("the template")["id"])["id"]
        server.stop()
    fill(tmp_path, MANY - FEW, MANY)
    with DevServer(tmp_path, "--limits", "paid") as server, Client(server.url) as client:
        few = {name: dearest(server, client, 3, **query) for name, query in QUERIES.items()}
        scrape = scraped(client)
        assert (scrape[0] <= 30, scrape[1]) == (True, 0), scrape
        server.stop()
    fill(tmp_path, 0, MANY - FEW)
    with DevServer(tmp_path, "--limits", "paid") as server, Client(server.url) as client:
        many = {name: dearest(server, client, 3, **query) for name, query in QUERIES.items()}
        assert many == few
        assert scraped(client) == scrape
        originals = ids(0, MANY)
        others = Others(server.url, originals)
        others.start()
        try:
            seen = [task["id"] for page in pages(client) for task in page["tasks"]]
        finally:
            others.enough.set()
            others.join()
        assert len(others.added) == len(others.deleted) > 10
        assert seen == sorted(seen, reverse=True)
        assert Counter(seen).most_common(1)[0][1] == 1
        stayed = set(originals) - set(others.deleted)
        assert stayed <= set(seen)
        assert template in set(seen) - set(originals) <= {template, *others.added}
        failed = {task["id"] for page in pages(client, status="failed") for task in page["tasks"]}
        assert failed == {id_ for id_ in originals[::EVERY] if id_ in stayed}
