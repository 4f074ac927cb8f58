"""What a task costs on the real runtime, by D1's own counters, and how fast it is."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import make_key
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def slow_model() -> Iterator[ModelServer]:
    """A model that takes 200 ms a call."""
    with ModelServer(api_key="test-key", latency_seconds=0.2) as server:
        yield server


@pytest.fixture(scope="module")
def server(route: str, slow_model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The Worker on one route, on the free plan's allowance, asking for keys."""
    state: Path = tmp_path_factory.mktemp("state")
    options = (*ENVIRONMENTS[route], *openai(slow_model.base_url, REQUIRE_KEYS="true"), "--cron-every", "1")
    with DevServer(state, *options) as made:
        yield made


@pytest.fixture(scope="module")
def client(server: DevServer) -> Iterator[Client]:
    """A client with a key."""
    with Client(server.url) as made:
        made.http.headers["Authorization"] = f"Bearer {make_key(server.persist_to)}"
        yield made


def events(server: DevServer, task_id: str) -> list[Json]:
    """Return the log's events of one task; the last run's is awaited, since it is written after the answer."""

    def found() -> list[Json]:
        lines = [json.loads(line) for line in list(server.lines) if line.startswith('{"event"')]
        mine = [line for line in lines if line.get("task") == task_id]
        return mine if mine and any(line.get("status") == "completed" for line in mine) else []

    return eventually(found)


def elapsed_ms(task: Json) -> float:
    """Return the time from creation to the end, by the server's own times."""
    created, finished = (datetime.fromisoformat(task[name]) for name in ("createdAt", "finishedAt"))
    return (finished - created).total_seconds() * 1000


def test_rows_and_calls_of_a_20_chunk_task(server: DevServer, client: Client, slow_model: ModelServer):
    """20 chunks without failures: at most 30 D1 rows written, index entries included, and 14 D1 calls, authentication
    and an Idempotency-Key included.

    The calls take a second, so that those that start together also count as ending together on a busy machine.
    """
    slow_model.latency_seconds = 1.0
    try:
        client.http.headers["Idempotency-Key"] = "budget"
        task = client.finished(client.submit(paragraphs(20), chunk={"maxChars": 40})["id"])
    finally:
        del client.http.headers["Idempotency-Key"]
        slow_model.latency_seconds = 0.2
    assert task["usage"]["modelCalls"] == 20
    # `accepted` is written after the dispatch; a direct run shares the invocation, whose meter its last line gives.
    found = events(server, task["id"])
    spent = [line for line in found if line["event"] in {"accepted", "run_ended"}]
    if task["route"] == "direct":
        spent = spent[-1:]
    calls = sum(line["database_calls"] for line in spent)
    rows = sum(line["rows_written"] for line in spent)
    assert calls <= 14, spent
    assert rows <= 30, spent
    assert rows >= 20
    assert all(line["subrequests"] <= 45 for line in spent)


def test_24_chunks_take_little_more_than_the_calls_themselves(server: DevServer, client: Client):
    """24 chunks at 200 ms a call, six at a time: near the ideal 800 ms from created to finished, and in five D1 calls.

    The design's bound of 1.1 times the ideal is `make bench`'s, on a machine with nothing else to do; a test run has
    a second worker. Here a clock checks that no wave of calls is wasted, and a counter that no round trip is.
    """
    client.finished(client.submit(paragraphs(6), chunk={"maxChars": 40})["id"])
    tasks: list[Json] = []
    while len(tasks) < 5 or (len(tasks) < 15 and min(map(elapsed_ms, tasks)) > 1.24 * 800):  # the machine is busy
        tasks.append(client.finished(client.submit(paragraphs(24), chunk={"maxChars": 40})["id"]))
    assert min(map(elapsed_ms, tasks)) <= 1.24 * 800  # a fifth wave would be 1.25 times the ideal
    runs = [line for task in tasks for line in events(server, task["id"]) if line["event"] == "run_ended"]
    # A direct run shares its invocation, and its meter, with the submission's one call.
    assert min(run["database_calls"] for run in runs) == 5 + (tasks[-1]["route"] == "direct")
