"""What a task costs on the real runtime by D1's counters, and that no wave of calls is late."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support import metered
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.model_plan import Call
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def slow_model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key", latency_seconds=0.2) as server:
        yield server


@pytest.fixture(scope="module")
def server(route: str, slow_model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    state: Path = tmp_path_factory.mktemp("state")
    settings = openai(slow_model.base_url, REQUIRE_KEYS="true")
    options = (*ENVIRONMENTS[route], *settings, "--limits", "free", "--cron-every", "1")
    with DevServer(state, *options) as made:
        yield made


@pytest.fixture(scope="module")
def client(server: DevServer) -> Iterator[Client]:
    with Client(server.url, insert_key(server.persist_to)) as made:
        yield made


def events(server: DevServer, task_id: str) -> list[Json]:
    """Return a task's log events, once the one of its last run, which comes after the answer, is there."""

    def found() -> list[Json]:
        lines = [json.loads(line) for line in list(server.lines) if line.startswith('{"event"')]
        mine = [line for line in lines if line.get("task") == task_id]
        return mine if mine and any(line.get("status") == "completed" for line in mine) else []

    return eventually(found)


def waves(calls: Sequence[Call]) -> int:
    # For each model call, its end, and the longest sequence of calls up to this call.
    depths: list[tuple[float, int]] = []
    for call in sorted(calls, key=lambda call: call.arrived_at):
        assert call.ended_at is not None
        before = [depth for ended_at, depth in depths if ended_at <= call.arrived_at]
        depths.append((call.ended_at, 1 + max(before, default=0)))
    return max(depth for _, depth in depths)


def spent(server: DevServer, client: Client, key: str) -> tuple[int, int]:
    client.http.headers["Idempotency-Key"] = key
    try:
        task = client.finished(client.submit(paragraphs(20), chunk={"maxChars": 40})["id"])
    finally:
        del client.http.headers["Idempotency-Key"]
    assert task["usage"]["modelCalls"] == 20
    # The Worker logs `accepted` after the task's dispatch. A direct run uses the same invocation as the submission, so
    # its last log line has the counts of both.
    lines = [line for line in events(server, task["id"]) if line["event"] in {"accepted", "run_ended"}]
    if task["route"] == "direct":
        lines = lines[-1:]
    assert all(line["subrequests"] <= 45 for line in lines)
    return sum(line["database_calls"] for line in lines), sum(line["rows_written"] for line in lines)


def test_rows_and_calls_of_a_20_chunk_task(server: DevServer, client: Client, slow_model: ModelServer):
    """A task of 20 chunks writes 14 to 20 D1 rows and makes 8 D1 calls, with authentication and an Idempotency-Key.

    Index entries count as rows. Each model call takes a second, so that calls that start together also end together. A
    busy machine may still split a wave in two, which costs one more call, so the best result of up to ten tasks counts.
    Another task runs before, because every 150 seconds a claim writes one more row to record its trigger.
    """
    client.finished(client.submit("before")["id"])
    found: list[tuple[int, int]] = []  # For each task, its D1 calls and the rows that it wrote.
    slow_model.latency_seconds = 1.0
    try:
        while len(found) < 10 and not any(calls <= 8 and rows <= 20 for calls, rows in found):
            found.append(spent(server, client, f"budget-{len(found)}"))
    finally:
        slow_model.latency_seconds = 0.2
    assert any(calls <= 8 and rows <= 20 for calls, rows in found), found
    assert all(rows >= 14 for _, rows in found)


def test_24_chunks_take_four_waves_of_calls_and_five_calls_of_d1(
    server: DevServer, client: Client, slow_model: ModelServer
):
    """A task of 24 chunks, with six calls at a time, takes four waves of calls and five D1 calls.

    A test run shares its machine with other work, so this test counts waves instead of time. Each model call takes a
    second, so that calls that start together also end together. A busy machine may still split a wave in two, so the
    best result of up to ten tasks counts.
    """
    client.finished(client.submit(paragraphs(6), chunk={"maxChars": 40})["id"])
    found: list[tuple[int, int]] = []  # For each task, its waves of model calls, and its D1 calls.
    slow_model.latency_seconds = 1.0
    try:
        while len(found) < 10 and (4, 5) not in found:
            slow_model.reset()
            task = client.finished(client.submit(paragraphs(24), chunk={"maxChars": 40})["id"])
            calls = slow_model.calls()
            assert len(calls) == 24
            assert max(call.in_flight for call in calls) <= 6
            (run,) = (line for line in events(server, task["id"]) if line["event"] == "run_ended")
            # The count of a direct run includes the one D1 call of the submission, which runs in the same invocation.
            found.append((waves(calls), run["database_calls"] - (task["route"] == "direct")))
    finally:
        slow_model.latency_seconds = 0.2
    assert (4, 5) in found, found


# On the direct route the invocation of a submission runs the task, too.
@pytest.mark.parametrize("route", ["queue", "durable-object"], indirect=True, scope="module")
def test_a_request_with_a_remembered_key_calls_d1_once(server: DevServer):
    """One call with a remembered key, two without; taken again if a busy machine comes between."""
    found: list[tuple[int, ...]] = []
    with Client(server.url, insert_key(server.persist_to)) as client:
        path = f"/api/tasks/{client.submit('first')['id']}"
        while (2, 1, 1) not in found and len(found) < 10:
            client.http.headers["Authorization"] = f"Bearer {insert_key(server.persist_to)}"
            submissions = [d1_calls(server, client, "POST", "/api/tasks", {"input": f"text {at}"}) for at in range(2)]
            found.append((*submissions, d1_calls(server, client, "GET", path)))
    assert (2, 1, 1) in found, found
    assert all(calls >= (2, 1, 1) for calls in found)


def d1_calls(server: DevServer, client: Client, method: str, path: str, body: Json | None = None) -> int:
    start = len(server.lines)
    client.http.request(method, path, json=body).raise_for_status()
    line = eventually(
        lambda: next((line for line in metered.lines(server, start) if line.get("request") == f"{method} {path}"), {})
    )
    calls: int = line["d1_calls"]
    return calls
