"""A hanging call holds up nobody: other tasks go on beside it, and its host is free soon after its task has ended."""

import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from src.core import limits
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan, hang
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
# A hanging call would go on for so long. On the direct route longer ones wait for the sweep, one task at a time.
TIMEOUT_SECONDS = {"queue": 60, "durable-object": 60, "direct": 20}
FREED_SECONDS_MOST = 15
SMALL = {"maxChars": 40}
LANED_CHUNKS = 3 * limits.LANE_CHUNKS


@pytest.fixture(scope="module")
def dev(route: str, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    """The Worker on one route, with the free plan's allowance."""
    timeout = TIMEOUT_SECONDS[route]
    flags = openai(model.base_url, AI_TIMEOUT_SECONDS=timeout, LEASE_SECONDS=timeout + 10, PLAN="free")
    with DevServer(tmp_path_factory.mktemp("state"), *ENVIRONMENTS[route], *flags, "--cron-every", "1") as server:
        yield server


@pytest.fixture(autouse=True)
def _fresh(model: ModelServer) -> Iterator[None]:
    """Start each test with an empty ledger, and with calls that hang where the text says so."""
    model.wait_until_idle(90)
    model.reset()
    model.plan = Plan(decide=lambda call: hang() if "hang" in call.user else None)
    yield
    model.plan = Plan()


def ended_seconds_after(model: ModelServer, moment: float) -> float:
    """Wait until all calls have ended, and return how long after `moment` the last one's connection was closed."""
    model.wait_until_idle(90)
    return max(call.ended_at or 0.0 for call in model.calls()) - moment


@pytest.mark.parametrize("method", ["cancel", "delete"])
def test_a_task_that_is_ended_frees_its_host(client: Client, model: ModelServer, method: str):
    """The model sees its connections close within 15 s. Objects are told, and close them at once.

    Six calls are as many as an invocation may have. An object is metered here, and has no connection left for a look.
    """
    task = client.submit(paragraphs(6, "hang"), chunk=SMALL)
    model.wait_for_in_flight(6, 30)
    moment = time.time()
    if method == "cancel":
        assert client.http.post(task["links"]["cancel"]).status_code == 200
    else:
        assert client.http.delete(task["links"]["self"]).status_code == 204
    answered = time.time()
    seconds = ended_seconds_after(model, moment)
    assert seconds < FREED_SECONDS_MOST
    if task["route"] == "durable-object":
        assert seconds < answered - moment + 3  # it does not wait for a look, which comes after 5 s
    assert [call.complete for call in model.calls()] == [False] * 6


def test_a_task_that_is_put_back_goes_on(client: Client, model: ModelServer):
    """The host that hung over its calls lets go; the retry makes them anew, and the first ones are in doubt."""
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
    """It is finished while the first one's call is still out, and as fast as if it were alone."""
    first = client.submit(paragraphs(1, "hang"), chunk=SMALL)
    model.wait_for_in_flight(1, 30)
    second = client.finished(client.submit(paragraphs(1), chunk=SMALL)["id"])
    assert second["status"] == "completed"
    assert model.in_flight() == 1
    created, finished = (datetime.fromisoformat(second[name]) for name in ("createdAt", "finishedAt"))
    assert (finished - created).total_seconds() < 2
    assert client.http.post(first["links"]["cancel"]).status_code == 200


@pytest.mark.parametrize("route", ["queue", "durable-object"])
def test_lanes_are_told(route: str, model: ModelServer, tmp_path: Path):
    """18 calls of three lanes hang. After the cancellation all their connections close, and all are in doubt but for
    those that had come: these are kept."""
    flags = [*openai(model.base_url, AI_TIMEOUT_SECONDS=60, LEASE_SECONDS=70, PLAN="paid"), *ENVIRONMENTS[route]]
    model.plan = Plan(decide=lambda call: hang() if call.number > 18 else None)
    model.hold()
    with DevServer(tmp_path, *flags, "--cron-every", "1") as dev, Client(dev.url) as client:
        task = client.submit(paragraphs(LANED_CHUNKS), chunk=SMALL)
        model.wait_for_in_flight(18, 60)
        model.release()
        model.wait_for_calls(36, 60)  # all of the second wave have arrived, so the model knows of each that is paid for
        model.wait_for_in_flight(18)
        moment = time.time()
        assert client.http.post(task["links"]["cancel"]).status_code == 200
        assert ended_seconds_after(model, moment) < FREED_SECONDS_MOST
        answered = sum(call.complete for call in model.calls())
        assert answered == 18
        assert client.http.post(task["links"]["retry"]).status_code == 202
        model.plan = Plan()
        done = client.finished(task["id"], 90)
        assert done["status"] == "completed"
        usage = done["usage"]
        assert len(model.calls()) == usage["modelCalls"] == LANED_CHUNKS + usage["inDoubt"]
