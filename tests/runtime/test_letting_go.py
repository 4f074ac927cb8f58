"""A hanging call delays no other task, and its host abandons the call once the task has ended."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.core import limits
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Plan, hang
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
# The seconds that a hanging call would last. On the direct route, tasks with longer calls wait for the sweep, one at a
# time.
TIMEOUT_SECONDS = {"queue": 600, "durable-object": 600, "direct": 20}
SMALL = {"maxChars": 40}
LANED_CHUNKS = 3 * limits.LANE_CHUNKS


@pytest.fixture(scope="module")
def dev(route: str, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """Serve the Worker on one route, with the free plan's allowance."""
    timeout = TIMEOUT_SECONDS[route]
    flags = openai(model.base_url, AI_TIMEOUT_SECONDS=timeout, LEASE_SECONDS=timeout + 10, PLAN="free")
    with DevServer(tmp_path_factory.mktemp("state"), *ENVIRONMENTS[route], *flags, "--cron-every", "1") as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(model: ModelServer) -> Iterator[None]:
    """Start each test with an empty ledger, and let calls hang if the text says so."""
    model.wait_until_idle(90)
    model.reset()
    model.plan = Plan(decide=lambda call: hang() if "hang" in call.user else None)
    yield
    model.plan = Plan()


def let_go(dev: DevServer, task_id: str) -> Json:
    """Return the log event of the run that abandoned a task's calls. There is none before that."""
    said = (line for line in list(dev.lines) if '"event":"let_go"' in line and task_id in line)
    return next(map(json.loads, said), {})


@pytest.mark.parametrize("method", ["cancel", "delete"])
def test_a_task_that_is_ended_frees_its_host(dev: DevServer, client: Client, model: ModelServer, method: str):
    """The run abandons its calls, and the model sees their connections close.

    `test_looks` tests how soon the run checks its task, under a virtual clock. An invocation may have six calls out,
    and the task has six. The object is metered here and has no connection left for a check, so the request notifies it.
    """
    task = client.submit(paragraphs(6, "hang"), chunk=SMALL)
    model.wait_for_in_flight(6, 30)
    if method == "cancel":
        assert client.http.post(task["links"]["cancel"]).status_code == 200
    else:
        assert client.http.delete(task["links"]["self"]).status_code == 204
    model.wait_until_idle(90)
    said = eventually(lambda: let_go(dev, task["id"]))
    assert task["route"] != "durable-object" or said.get("told") is True
    assert [call.complete for call in model.calls()] == [False] * 6


def test_a_task_that_is_put_back_goes_on(client: Client, model: ModelServer):
    """The host that waited for its calls abandons them.

    The retry makes these calls anew, and the first ones are in doubt.
    """
    task = client.submit(paragraphs(2, "hang"), chunk=SMALL)
    model.wait_for_in_flight(2, 30)
    assert client.http.post(task["links"]["cancel"]).status_code == 200
    model.plan = Plan()
    assert client.http.post(task["links"]["retry"]).status_code == 202
    done = client.finished(task["id"], 90)
    assert done["status"] == "completed"
    assert (done["usage"]["modelCalls"], done["usage"]["inDoubt"]) == (4, 2)
    assert len(model.calls()) == 4


def test_a_second_task_does_not_wait_for_a_hanging_one(client: Client, model: ModelServer):
    """The second task ends while the first one's call is still out."""
    first = client.submit(paragraphs(1, "hang"), chunk=SMALL)
    model.wait_for_in_flight(1, 30)
    second = client.finished(client.submit(paragraphs(1), chunk=SMALL)["id"])
    assert second["status"] == "completed"
    assert model.in_flight() == 1
    assert client.http.post(first["links"]["cancel"]).status_code == 200


@pytest.mark.parametrize("route", ["queue", "durable-object"])
def test_lanes_are_told(route: str, model: ModelServer, tmp_path: Path):
    """18 calls of three lanes hang. After the cancellation all connections of the lanes close.

    All calls are in doubt, except for those whose outputs had come: these are kept.
    """
    flags = [*openai(model.base_url, AI_TIMEOUT_SECONDS=600, LEASE_SECONDS=610, PLAN="paid"), *ENVIRONMENTS[route]]
    model.plan = Plan(decide=lambda call: hang() if call.number > 18 else None)
    model.hold()
    with DevServer(tmp_path, *flags, "--cron-every", "1") as dev, Client(dev.url) as client:
        task = client.submit(paragraphs(LANED_CHUNKS), chunk=SMALL)
        model.wait_for_in_flight(18, 60)
        model.release()
        model.wait_for_calls(36, 60)  # the whole second wave has arrived, so the model has counted each paid call
        model.wait_for_in_flight(18)
        assert client.http.post(task["links"]["cancel"]).status_code == 200
        model.wait_until_idle(90)
        answered = sum(call.complete for call in model.calls())
        assert answered == 18
        model.plan = Plan()  # before the retry, whose first calls may reach the model before the client has its answer
        assert client.http.post(task["links"]["retry"]).status_code == 202
        done = client.finished(task["id"], 90)
        assert done["status"] == "completed"
        usage = done["usage"]
        assert len(model.calls()) == usage["modelCalls"] == LANED_CHUNKS + usage["inDoubt"]
