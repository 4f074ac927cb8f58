"""Tests that a hanging model call delays no other task, and that its host gives it up once its task has ended."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from src.kernel.domain import limits
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_plan import Plan, hang
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
# For each route, the timeout of model calls in seconds. On the direct route, tasks wait for the sweep if their calls
# may take longer than that.
TIMEOUT_SECONDS = {"queue": 600, "durable-object": 600, "direct": 20}
SMALL = {"maxChars": 40}
LANED_CHUNKS = 3 * limits.LANE_CHUNKS


@pytest.fixture(scope="module")
def dev(route: str, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    timeout = TIMEOUT_SECONDS[route]
    flags = openai(model.base_url, AI_TIMEOUT_SECONDS=timeout, LEASE_SECONDS=timeout + 10, PLAN="free")
    with DevServer(tmp_path_factory.mktemp("state"), *ENVIRONMENTS[route], *flags, "--cron-every", "1") as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(model: ModelServer) -> Iterator[None]:
    """Begin each test with an empty ledger, and let calls hang if their text contains `hang`."""
    model.wait_until_idle(90)
    model.reset()
    model.plan = Plan(decide=lambda call: hang() if "hang" in call.user else None)
    yield
    model.plan = Plan()


def let_go(dev: DevServer, task_id: str) -> Json:
    said = (line for line in list(dev.lines) if '"event":"let_go"' in line and task_id in line)
    return next(map(json.loads, said), {})


@pytest.mark.parametrize("method", ["cancel", "delete"])
def test_a_task_that_is_ended_frees_its_host(dev: DevServer, client: Client, model: ModelServer, method: str):
    """When a task is cancelled or erased, its run gives up its hanging calls, and the model sees that the connections
    close.

    How soon a run checks its task is tested under a virtual clock, in `test_looks`. The ended task has six calls in
    flight, as many as an invocation may have. With six calls an object has no connection left for a check, so the
    cancelling request notifies it.
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
    task = client.submit(paragraphs(2, "hang"), chunk=SMALL)
    model.wait_for_in_flight(2, 30)
    assert client.http.post(task["links"]["cancel"]).status_code == 200
    model.plan = Plan()
    assert client.http.post(task["links"]["retry"]).status_code == 202
    done = client.finished(task["id"], 90)
    assert done["status"] == "completed"
    assert (done["usage"]["modelCalls"], done["usage"]["inDoubt"]) == (4, 2)
    assert len(model.calls()) == 4


@pytest.mark.parametrize("route", ["queue", "durable-object"])
def test_lanes_are_told(route: str, model: ModelServer, tmp_path: Path):
    flags = [*openai(model.base_url, AI_TIMEOUT_SECONDS=600, LEASE_SECONDS=610, PLAN="paid"), *ENVIRONMENTS[route]]
    model.plan = Plan(decide=lambda call: hang() if call.number > 18 else None)
    model.hold()
    with DevServer(tmp_path, *flags, "--cron-every", "1") as dev, Client(dev.url) as client:
        task = client.submit(paragraphs(LANED_CHUNKS), chunk=SMALL)
        model.wait_for_in_flight(18, 60)
        model.release()
        model.wait_for_calls(36, 60)  # At this moment, all calls of the second wave have arrived.
        model.wait_for_in_flight(18)
        assert client.http.post(task["links"]["cancel"]).status_code == 200
        model.wait_until_idle(90)
        answered = sum(call.complete for call in model.calls())
        assert answered == 18
        model.plan = Plan()  # Before the retry is sent, because its calls may come before its answer.
        assert client.http.post(task["links"]["retry"]).status_code == 202
        done = client.finished(task["id"], 90)
        assert done["status"] == "completed"
        usage = done["usage"]
        assert len(model.calls()) == usage["modelCalls"] == LANED_CHUNKS + usage["inDoubt"]
