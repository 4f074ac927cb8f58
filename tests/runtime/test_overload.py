"""A slow database, and a machine that stands still, under load on real workerd: all work is done, and paid for once.

Both routes run each story at the same time, each on a server of its own.
"""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from src.core import limits
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer
from tests.support.routes import STARTS_SECONDS, on_each_route
from tests.support.shared_d1 import SharedD1

pytestmark = pytest.mark.runtime
CHUNKS = 8
TASKS = 20
SMALL = {"maxChars": 40}
AT_WORK = 40  # the least number of calls that the model has of each of seven tasks when the database stalls
SERVICE_SECONDS = 0.1
OTHERS = 25  # callers before each call: an answer takes 2.6 s or more; earlier code gave calls only 2 s to start


# A rare request must not use a connection that the server is about to close, after 15 s without one.
ALONE = {"Connection": "close"}


class AskingAgain(Client):
    """A client that reads again after a lost answer: a runtime that stood still can drop a connection."""

    def task(self, task_id: str, **query: str | float) -> Json:
        for _ in range(5):
            with suppress(httpx.RemoteProtocolError):
                return super().task(task_id, **query)
        return super().task(task_id, **query)


def refused(client: Client) -> httpx.Response | None:
    """Ask what a submission would do. Returns the answer if the database is too slow to answer in time."""
    answer = client.http.post("/api/tasks?dryRun=true", json={"input": "Would you take this?"}, headers=ALONE)
    return answer if answer.status_code == 503 else None


def taken(client: Client) -> str | None:
    """Submit a task. Return its id, or None if the database is still too slow."""
    answer = client.http.post("/api/tasks", json={"input": paragraphs(CHUNKS), "chunk": SMALL}, headers=ALONE)
    if answer.status_code == 202:
        return str(answer.json()["id"])
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded"), answer.text
    return None


def completed(client: Client) -> int:
    """Count the tasks that have completed."""
    answer = client.http.get("/api/tasks?status=completed&limit=100", headers=ALONE)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["tasks"])


def check_writes(database: SharedD1, tasks: Sequence[str]) -> None:
    """Compare the writes for each task with its calls, the time, and the writes that a run may make at first."""
    for task_id in tasks:
        (account,) = [one for key, one in database.accounts.items() if key.endswith(task_id)]
        of_calls = limits.WRITES_A_CALL * CHUNKS
        of_time = limits.WRITES_A_MINUTE * account.seconds / 60
        assert 2 < account.writes <= of_calls + of_time + limits.WRITES_AT_FIRST, (task_id, account)


def check_bill(client: Client, model: ModelServer, tasks: Sequence[str]) -> None:
    """Check that all tasks complete, with one call for each chunk by the tasks' own counts and the model's."""
    ended = [client.finished(task_id, seconds=240) for task_id in tasks]
    assert [task["status"] for task in ended] == ["completed"] * len(tasks)
    assert [(task["usage"]["modelCalls"], task["usage"]["inDoubt"]) for task in ended] == [(CHUNKS, 0)] * len(tasks)
    assert len(model.calls()) == CHUNKS * len(tasks)


def work_through_a_stall(environment: Sequence[str], folder: Path) -> None:
    """Twenty tasks share a database that stalls, refuses new tasks during the stall, and stays slow."""
    with (
        SharedD1() as database,
        ModelServer(api_key="test-key") as model,
        DevServer(
            folder / "state",
            *environment,
            *openai(model.base_url),
            environ={"NODE_OPTIONS": database.options(folder)},
            ready_seconds=STARTS_SECONDS,
        ) as server,
        Client(server.url) as client,
    ):
        model.hold()
        tasks = [str(client.submit(paragraphs(CHUNKS), chunk=SMALL)["id"]) for _ in range(TASKS)]
        model.wait_for_in_flight(AT_WORK, timeout_seconds=60)
        database.service_seconds, database.others = SERVICE_SECONDS, OTHERS
        database.stall()
        model.release()
        answer = eventually(lambda: refused(client), seconds=60)
        assert answer is not None
        assert answer.json()["code"] == "overloaded"
        assert int(answer.headers["Retry-After"]) >= 1
        assert taken(client) is None
        database.resume()
        newcomer = eventually(lambda: taken(client), seconds=60, pause=0.5)
        assert newcomer is not None
        eventually(lambda: completed(client) == TASKS + 1, seconds=240, pause=0.5)
        database.service_seconds, database.others = 0.0, 0  # only reads are left
        check_bill(client, model, [*tasks, newcomer])
        check_writes(database, [*tasks, newcomer])


def test_tasks_share_a_slow_database_that_stalls(tmp_path: Path) -> None:
    """All tasks complete with one call a chunk, and at most two writes a call and two a minute.

    New tasks are refused at first, and accepted later.
    """
    on_each_route(tmp_path, work_through_a_stall)


def stand_still(environment: Sequence[str], folder: Path) -> None:
    """Stop the whole runtime four times while twenty tasks run."""
    with (
        ModelServer(api_key="test-key", latency_seconds=0.3) as model,
        DevServer(
            folder, *environment, *openai(model.base_url), "--cron-every", "5", ready_seconds=STARTS_SECONDS
        ) as server,
        AskingAgain(server.url) as client,
    ):
        tasks = [client.submit(paragraphs(CHUNKS), chunk=SMALL) for _ in range(TASKS)]
        for _ in range(4):
            members = server.group_members()
            for pid in members:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(3)  # the sleep is the fault itself, not a wait for a state
            for pid in members:
                os.kill(pid, signal.SIGCONT)
            client.task(tasks[-1]["id"])
        ended = [client.finished(task["id"], seconds=240) for task in tasks]
        assert [task["status"] for task in ended] == ["completed"] * len(tasks)
        calls = sum(task["usage"]["modelCalls"] for task in ended)
        doubted = sum(task["usage"]["inDoubt"] for task in ended)
        assert CHUNKS * len(tasks) <= len(model.calls()) <= calls <= CHUNKS * len(tasks) + doubted


def test_a_runtime_that_stands_still_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Each stop lasts longer than a call may take to start.

    All tasks complete, and each call that was paid twice was in doubt.
    """
    on_each_route(tmp_path, stand_still)
