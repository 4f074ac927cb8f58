"""Tests on the real runtime that a tenant's 10,000 waiting tasks, or a batch, do not delay another tenant."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from src.kernel.domain.ids import new_task_id, task_key_of
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, Json, line_of_batch, openai
from tests.support.databases import d1_file, opened
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.model_plan import status
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime

MANY = 10_000
# The tasks that `fill` writes were submitted at this time, long ago, and have waited for their dispatch since then.
START_MS = 1_700_000_000_000
RUNS = 25  # The most runs of the sweep before the other tenant's task is completed.
# For each route, the most tasks that the sweep may dispatch before the other tenant's task.
FIRST = {"queue": 40, "durable-object": 40, "direct": 2}
TEXT = "The only sentence of this text."

# This statement writes accepted tasks for which there is no queue message, as if the queue had lost its messages.
TASK = """
INSERT INTO tasks (id, status, route, reduce, metadata, total, merge_chars, calls_minimum, wake_at, created_at)
VALUES (?1, 'pending', 'queue', 'concat', '{}', 1, 6000, 1, ?2, ?2)
"""
TEXT_OF_TASK = "INSERT INTO texts (task_id, input, instructions, cuts, overlap) VALUES (?1, ?2, '', ?3, 0)"


def fill(state: Path, tenant: str, first: int, behind: int) -> list[str]:
    """Write due tasks, a millisecond apart, into the database of a stopped runtime, and return their ids."""
    made = [(new_task_id(START_MS + number, number.to_bytes(10)), START_MS + number) for number in range(first, behind)]
    with closing(sqlite3.connect(d1_file(state))) as connection, connection:
        connection.executemany(TASK, [(task_key_of(tenant, id_), due_ms) for id_, due_ms in made])
        text = (TEXT, json.dumps([len(TEXT)]))
        connection.executemany(TEXT_OF_TASK, [(task_key_of(tenant, id_), *text) for id_, _ in made])
    return [id_ for id_, _ in made]


def waiting(state: Path, tenant: str) -> int:
    with opened(d1_file(state)) as database:
        query = "SELECT count(*) FROM tasks WHERE tenant = ? AND status = 'pending'"
        return database.execute(query, (tenant,)).fetchone()[0]


def swept(state: Path) -> bool:
    """Whether a sweep has recorded its time in the database."""
    with opened(d1_file(state)) as database:
        return database.execute("SELECT 1 FROM seen WHERE what = 'sweep'").fetchone() is not None


def dispatched(server: DevServer) -> list[Json]:
    return [json.loads(line) for line in server.lines if line.startswith('{"event":"dispatched"')]


@pytest.mark.campaign
@pytest.mark.parametrize("route", ENVIRONMENTS)
def test_ten_thousand_waiting_tasks_hold_up_nobody(route: str, tmp_path: Path) -> None:
    """The first sweep (direct: the second) dispatches another tenant's task that is due last."""
    flags = (*ENVIRONMENTS[route], "--var", "REQUIRE_KEYS:true")
    with DevServer(tmp_path, *flags, "--cron-every", "1") as server:
        secrets = {tenant: insert_key(tmp_path, tenant) for tenant in ("many", "one")}
        # Without a recorded sweep, the next server's first request would start a sweep that handles a single task.
        eventually(lambda: swept(tmp_path))
        assert server.stop() == 0
    fill(tmp_path, "many", 0, MANY)
    (lost,) = fill(tmp_path, "one", MANY, MANY + 1)

    with (
        DevServer(tmp_path, *flags, "--cron-every", "1") as server,
        Client(server.url, secrets["one"]) as client,
        Client(server.url, secrets["many"]) as many,
    ):
        fresh = client.submit(TEXT)
        # The test reads the late task only after the sweep has dispatched it, because a request that reads a late task
        # makes the Worker dispatch it.
        server.wait_for_line(f'"dispatched".*"{lost}"', 60)
        for id_ in (lost, fresh["id"]):
            assert client.finished(id_)["status"] == "completed"
        eventually(lambda: waiting(tmp_path, "many") < MANY)
        assert waiting(tmp_path, "many") >= MANY - RUNS * 40
        assert fresh["route"] == route

        more = many.submit(TEXT)["id"]
        server.wait_for_line(f'"dispatched".*"{more}"')
        sent = dispatched(server)
        (told,) = [line for line in sent if line["task"] == more]
        assert told["route"] == ("durable-object" if route == "queue" else route)
        first = [line["task"] for line in sent].index(lost)
        assert sum(line["tenant"] == "many" for line in sent[:first]) < FIRST[route]


LINES = 1_500


@contextmanager
def two_tenants(state: Path, route: str, **settings: object) -> Iterator[tuple[ModelServer, Client, Client]]:
    """Serve a model and the Worker, and yield the model with a client of each of two tenants."""
    with ModelServer(api_key="test-key", latency_seconds=0.1) as model:
        flags = openai(model.base_url, AI_MODEL="m", REQUIRE_KEYS="true", **settings)
        with (
            DevServer(state, *ENVIRONMENTS[route], *flags, "--cron-every", "1") as server,
            Client(server.url, insert_key(state, "many")) as many,
            Client(server.url, insert_key(state, "one")) as one,
        ):
            yield model, many, one


@pytest.mark.parametrize(
    "route", [pytest.param(name, marks=[] if name == "queue" else [pytest.mark.campaign]) for name in ENVIRONMENTS]
)
def test_a_batch_holds_up_nobody(route: str, tmp_path: Path) -> None:
    """Another tenant's tasks get their call while two thirds of a batch's calls are to come."""
    with two_tenants(tmp_path, route, PLAN="paid") as (model, many, one):
        one.finished(one.submit(TEXT)["id"])  # imports what tasks need
        model.wait_until_idle()
        model.reset()
        batch = start_batch(many)
        for number in range(3):
            model.wait_for_calls(number * 40)
            before = len(model.calls())
            text = f"Task {number} of the other tenant."
            assert one.finished(one.submit(text)["id"])["status"] == "completed"
            position = [call.user for call in model.calls()].index(text)
            assert position - before < LINES // 3
            shown = many.batch(batch)
            assert shown["status"] in {"validating", "in_progress"}
            assert shown["request_counts"]["completed"] < LINES
        assert many.http.post(f"/v1/batches/{batch}/cancel").status_code == 200


def test_a_task_that_waits_for_its_model_has_no_object_slot(tmp_path: Path) -> None:
    with two_tenants(tmp_path, "durable-object", MAX_OBJECTS_AT_WORK=2) as (model, many, one):
        model.plan.decide = lambda call: status(503) if "hopes" in call.user else None
        waiting = [many.submit(f"A task that hopes {number} times.")["id"] for number in range(4)]
        model.wait_for_calls(4)
        for number in range(3):
            assert one.finished(one.submit(f"Task {number}.")["id"])["status"] == "completed"
        assert not any(many.task(id_)["terminal"] for id_ in waiting)


def test_a_batch_that_cannot_be_completed_yet_keeps_no_other_waiting(tmp_path: Path) -> None:
    """The free plan's sweep completes a batch beside one whose cancelled calls are in flight."""
    with two_tenants(tmp_path, "durable-object", MAX_OBJECTS_AT_WORK=1) as (model, many, one):
        model.hold()
        start_batch(many, 3)
        model.wait_for_in_flight(3)
        start_batch(one, 3)
        for client in (one, many):  # the first one still waits for the only object slot
            (task,) = client.http.get("/api/tasks").json()["tasks"]
            assert client.http.post(f"/api/tasks/{task['id']}/cancel").status_code == 200
        eventually(lambda: has_ended(tmp_path, "one"))
        assert model.in_flight() == 3
        assert not has_ended(tmp_path, "many")
        model.release()


def has_ended(state: Path, tenant: str) -> bool:
    with opened(d1_file(state)) as database:
        query = "SELECT ended_at FROM batches JOIN tasks ON id = task_id WHERE tenant = ?"
        return database.execute(query, (tenant,)).fetchone()[0] is not None


def start_batch(client: Client, lines: int = LINES) -> str:
    content = "".join(line_of_batch(f"r-{number}", f"Line {number} of a batch.") for number in range(lines))
    return str(client.start_batch(content)["id"])
