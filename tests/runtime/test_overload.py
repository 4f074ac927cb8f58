"""Load on workerd with a slow database, and a runtime that stands still: all work is done."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from src.kernel.domain import limits
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer
from tests.support.routes import ROUTES, STARTS_SECONDS, on_each_route
from tests.support.shared_d1 import SharedD1

pytestmark = pytest.mark.runtime
CHUNKS = 8
TASKS = 20
SMALL = {"maxChars": 40}
AT_WORK = 40  # How many model calls must be in flight when the stall of the database begins.
SERVICE_SECONDS = 0.1
# How many other callers come before each call, so that an answer takes at least 2.6 s. Earlier code gave model calls
# only 2 s to start.
OTHERS = 25


# A rare request opens its own connection, because the server closes a connection after 15 s without a request.
ALONE = {"Connection": "close"}


class AskingAgain(Client):
    """A client that repeats a read after a lost answer, because a runtime that stood still may drop a connection."""

    def task(self, task_id: str, **query: str | float) -> Json:
        for _ in range(5):
            with suppress(httpx.RemoteProtocolError):
                return super().task(task_id, **query)
        return super().task(task_id, **query)


def refused(client: Client) -> httpx.Response | None:
    """Make a dry run of a submission. Returns a 503 because of a slow database, else None."""
    answer = client.http.post("/api/tasks?dryRun=true", json={"input": "Would you take this?"}, headers=ALONE)
    return answer if answer.status_code == 503 else None


def taken(client: Client) -> str | None:
    """Submit a task. Returns the task's id, or None if the submission is refused because of overload."""
    answer = client.http.post("/api/tasks", json={"input": paragraphs(CHUNKS), "chunk": SMALL}, headers=ALONE)
    if answer.status_code == 202:
        return str(answer.json()["id"])
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded"), answer.text
    return None


def completed(client: Client) -> int:
    answer = client.http.get("/api/tasks?status=completed&limit=100", headers=ALONE)
    assert answer.status_code == 200, answer.text
    return len(answer.json()["tasks"])


def check_writes(database: SharedD1, tasks: Sequence[str]) -> None:
    for task_id in tasks:
        (account,) = [one for key, one in database.accounts.items() if key.endswith(task_id)]
        of_calls = limits.WRITES_A_CALL * CHUNKS
        of_time = limits.WRITES_A_MINUTE * account.seconds / 60
        assert 2 < account.writes <= of_calls + of_time + limits.WRITES_AT_FIRST, (task_id, account)


def check_bill(client: Client, model: ModelServer, tasks: Sequence[str]) -> None:
    ended = [client.finished(task_id, seconds=240) for task_id in tasks]
    assert [task["status"] for task in ended] == ["completed"] * len(tasks)
    assert [(task["usage"]["modelCalls"], task["usage"]["inDoubt"]) for task in ended] == [(CHUNKS, 0)] * len(tasks)
    assert len(model.calls()) == CHUNKS * len(tasks)


def work_through_a_stall(environment: Sequence[str], folder: Path) -> None:
    """Let twenty tasks share a database that first stalls and then stays slow, and check refusals, bills and writes."""
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
        database.service_seconds, database.others = 0.0, 0  # Only reads are left.
        check_bill(client, model, [*tasks, newcomer])
        check_writes(database, [*tasks, newcomer])


def test_tasks_share_a_slow_database_that_stalls(tmp_path: Path) -> None:
    on_each_route(tmp_path, work_through_a_stall)


@pytest.mark.parametrize("route", ["queue", pytest.param("objects", marks=pytest.mark.campaign)])
def test_a_runtime_that_stands_still_loses_and_doubles_nothing(route: str, tmp_path: Path) -> None:
    """Tasks complete although the runtime stops four times, each time for longer than a call may take to start."""
    with (
        ModelServer(api_key="test-key", latency_seconds=0.3) as model,
        DevServer(
            tmp_path, *ROUTES[route], *openai(model.base_url), "--cron-every", "5", ready_seconds=STARTS_SECONDS
        ) as server,
        AskingAgain(server.url) as client,
    ):
        tasks = [client.submit(paragraphs(CHUNKS), chunk=SMALL) for _ in range(TASKS)]
        for _ in range(4):
            members = server.group_members()
            for pid in members:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(3)  # For how many seconds the runtime stands still.
            for pid in members:
                os.kill(pid, signal.SIGCONT)
            client.task(tasks[-1]["id"])
        ended = [client.finished(task["id"], seconds=240) for task in tasks]
        assert [task["status"] for task in ended] == ["completed"] * len(tasks)
        calls = sum(task["usage"]["modelCalls"] for task in ended)
        doubted = sum(task["usage"]["inDoubt"] for task in ended)
        assert CHUNKS * len(tasks) <= len(model.calls()) <= calls <= CHUNKS * len(tasks) + doubted
