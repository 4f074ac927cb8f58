"""Tests messages on the real queue: duplicates, unreadable messages, dead letters, and a queue that refuses them."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from src.kernel.domain.ids import LOCAL, task_key_of
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, openai, paragraphs, variables
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime
SMALL = {"maxChars": 40}
# How many consumers the local queue has (local/runtime/queue.mjs). If all consumers are busy, messages stay in the
# queue.
CONSUMERS = 10


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wired_worker(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def wired(project: Path, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """A local server with the copy of the Worker, with queues and objects, whose model calls go to `model`."""
    with DevServer(tmp_path_factory.mktemp("state"), *openai(model.base_url), project=project) as server:
        yield server


@pytest.fixture(scope="module")
def through_door(wired: DevServer) -> Iterator[Client]:
    with Client(wired.url) as client:
        yield client


@pytest.fixture(autouse=True)
def _fresh(model: ModelServer):
    model.release()
    model.wait_until_idle()
    model.reset()


def put(client: Client, queue: str, *bodies: object) -> None:
    answer = client.http.post("/_test/messages", json={"queue": queue, "bodies": bodies})
    assert answer.text == "sent"


def deliver(server: DevServer, task_id: str) -> str:
    """Let the Worker consume a task's message in an invocation, and return what it did with it."""
    with Client(server.url) as client:
        bodies = [{"taskId": task_key_of(LOCAL, task_id)}]
        return client.http.post("/_test/messages", json={"queue": None, "bodies": bodies}).text


def events(server: DevServer, name: str) -> list[dict]:
    lines = [json.loads(line) for line in list(server.lines) if line.startswith('{"event"')]
    return [line for line in lines if line["event"] == name]


def test_duplicates_while_tasks_run_make_no_call(wired: DevServer, through_door: Client, model: ModelServer):
    model.hold()
    tasks = [through_door.submit(paragraphs(8, f"text {number}"), chunk=SMALL)["id"] for number in range(3)]
    with ThreadPoolExecutor(33) as pool:
        first = [pool.submit(deliver, wired, task_id) for task_id in tasks]
        model.wait_for_in_flight(18)
        again = [pool.submit(deliver, wired, task_id) for task_id in tasks * 10]
        assert [ended.result() for ended in again] == ["ack"] * 30
        assert len(model.calls()) == 18
        model.release()
        assert [ended.result() for ended in first] == ["ack"] * 3
    done = [through_door.finished(task_id) for task_id in tasks]
    assert {task["status"] for task in done} == {"completed"}
    assert len(model.calls()) == 24 == len({call.user for call in model.calls()})
    assert [(task["attempts"], task["usage"]["modelCalls"]) for task in done] == [(1, 8)] * 3


def test_racing_deliveries_of_fresh_tasks_make_one_run(wired: DevServer, through_door: Client, model: ModelServer):
    """Ten deliveries at once of a new task make one run, and a call for each chunk."""
    model.hold()
    blockers = [through_door.submit(paragraphs(1, "blocker"), chunk=SMALL)["id"] for _ in range(CONSUMERS)]
    model.wait_for_in_flight(CONSUMERS)
    task_id = through_door.submit(paragraphs(8), chunk=SMALL)["id"]
    with ThreadPoolExecutor(10) as pool:
        racing = [pool.submit(deliver, wired, task_id) for _ in range(10)]
        model.wait_for_in_flight(CONSUMERS + 6)
        model.release()
        assert [ended.result() for ended in racing] == ["ack"] * 10
    task = through_door.finished(task_id)
    assert (task["status"], task["attempts"], task["usage"]["modelCalls"]) == ("completed", 1, 8)
    assert {through_door.finished(blocker)["status"] for blocker in blockers} == {"completed"}
    assert len(model.calls()) == CONSUMERS + 8


def test_unreadable_messages_are_acknowledged_and_reported(wired: DevServer, through_door: Client):
    before = len(events(wired, "unreadable_message"))
    put(through_door, "AI_QUEUE", "junk", {"taskId": 7}, {"taskId": "../tasks"}, {"other": "x"}, None, [])
    eventually(lambda: len(events(wired, "unreadable_message")) == before + 6)
    assert {line["delivery"] for line in events(wired, "unreadable_message")} == {1}
    task = through_door.finished(through_door.submit("Still alive.")["id"])
    assert task["status"] == "completed"


def test_a_dead_letter_spares_a_task_that_is_worked_on(wired: DevServer, through_door: Client, model: ModelServer):
    model.hold()
    task_id = through_door.submit(paragraphs(2), chunk=SMALL)["id"]
    model.wait_for_in_flight(2)
    put(through_door, "AI_DLQ", {"taskId": task_key_of(LOCAL, task_id)}, "junk")
    eventually(lambda: any(line["task"] == task_id for line in events(wired, "dead_lettered")), 30)
    eventually(lambda: events(wired, "unreadable_dead_letter"))
    model.release()
    assert through_door.finished(task_id)["status"] == "completed"


def test_a_queue_that_refuses_falls_through(wired: DevServer, through_door: Client, model: ModelServer):
    assert through_door.http.post("/_test/refuses", content="yes").text == "done"
    try:
        accepted = through_door.submit(paragraphs(4), chunk=SMALL)
        assert accepted["route"] == "queue"
        task = through_door.finished(accepted["id"])
    finally:
        through_door.http.post("/_test/refuses", content="no")
    assert (task["status"], task["route"], task["usage"]["modelCalls"]) == ("completed", "durable-object", 4)
    assert len(model.calls()) == 4
    refused = eventually(lambda: [line for line in events(wired, "send_failed") if line["task"] == task["id"]])
    assert refused[0]["route"] == "queue"


@pytest.mark.parametrize(
    "route", ["queue", *(pytest.param(one, marks=pytest.mark.campaign) for one in ("durable-object", "direct"))]
)
def test_a_task_that_breaks_its_worker_ends_as_failed(route: str, project: Path, tmp_path: Path):
    settings = variables({"LEASE_SECONDS": 2, "AI_TIMEOUT_SECONDS": 1, "POISON": "yes"})
    flags = (*ENVIRONMENTS[route], "--cron-every", "1", *settings)
    with DevServer(tmp_path, *flags, project=project) as server, Client(server.url) as client:
        task = client.finished(client.submit("Poison.")["id"], 60)
        assert task["status"] == "failed"
        assert task["error"]["code"] in {"worker_crashed", "dead_lettered"}
        assert task["error"]["retryable"]
        server.wait_for_line("ZeroDivisionError")
