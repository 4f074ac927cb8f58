"""Tests on real workerd a model server that is away for seconds: the task waits, and the answers about it say so."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.loopback import reserved_port
from tests.support.model_plan import Plan, status
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
CHUNKS, SMALL = 24, {"maxChars": 40}
LATENCY_SECONDS = 0.3
BROWN_OUT_TASKS = 30


@pytest.fixture(scope="module", params=["queue", "durable-object", pytest.param("direct", marks=pytest.mark.campaign)])
def route(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def port() -> int:
    return reserved_port()


@pytest.fixture(scope="module")
def patient(route: str, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    settings = openai(f"http://127.0.0.1:{port}/v1", AI_TIMEOUT_SECONDS=2, LEASE_SECONDS=5, PLAN="paid")
    state: Path = tmp_path_factory.mktemp("state")
    with DevServer(state, *ENVIRONMENTS[route], *settings, "--cron-every", "1") as server, Client(server.url) as client:
        yield client


def serve(port: int) -> ModelServer:
    return ModelServer(api_key="test-key", latency_seconds=LATENCY_SECONDS, port=port)


def begin(client: Client, model: ModelServer) -> Json:
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL)
    model.wait_for_calls(8, 30)
    return task


def wait_for_words(client: Client, task: Json, code: str) -> Json:
    seen: list[Json] = []

    def waits() -> bool:
        shown = client.task(task["id"])
        assert not shown["terminal"], shown["error"]
        wait = shown["waitingFor"]
        if wait is not None and wait["reason"] == "model_away" and shown["lastError"]["calls"] >= 4:
            seen.append(shown)
        return bool(seen)

    eventually(waits, seconds=60)
    assert seen[0]["lastError"]["code"] == code
    assert seen[0]["waitingFor"]["until"] is None or seen[0]["waitingFor"]["until"] > seen[0]["lastError"]["at"]
    return seen[0]


def assert_whole(client: Client, task: Json) -> None:
    done = client.finished(task["id"], 120)
    assert done["status"] == "completed", done
    assert done["progress"] == {"total": CHUNKS, "completed": CHUNKS, "failed": 0, "truncated": 0}
    assert (done["waitingFor"], done["lastError"]) == (None, None)


def test_a_server_that_is_down(patient: Client, port: int):
    with serve(port) as model:
        task = begin(patient, model)
    shown = wait_for_words(patient, task, "model_connection_lost")
    assert shown["progress"]["completed"] > 0
    with serve(port) as model:
        assert_whole(patient, task)
        assert len(model.calls()) == CHUNKS - shown["progress"]["completed"]


def test_a_server_that_answers_500(patient: Client, port: int):
    with serve(port) as model:
        task = begin(patient, model)
        model.plan = Plan(decide=lambda call: status(500))
        wait_for_words(patient, task, "model_unavailable")
        refused = [call for call in model.calls() if call.answered == "status 500"]
        assert len(refused) <= 6 + 8  # Six calls were in flight, and all later calls are single probes.
        model.plan = Plan()
        assert_whole(patient, task)
        served = [call for call in model.calls() if call.answered == "ok"]
        assert len(served) == CHUNKS


@pytest.mark.campaign
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_share_of_the_calls_fails(patient: Client, port: int, share: float):
    with serve(port) as model:
        chance = Random(f"brown-out of {share}")
        tasks = [patient.submit(paragraphs(CHUNKS), chunk=SMALL)]
        model.plan = Plan(decide=lambda call: status(503) if chance.random() < share else None)
        for _ in range(BROWN_OUT_TASKS):
            tasks.append(patient.submit(paragraphs(CHUNKS), chunk=SMALL))
            patient.finished(tasks[-2]["id"], 120)
        model.plan = Plan()
        for task in tasks:
            assert_whole(patient, task)
        refused = [call for call in model.calls() if call.answered == "status 503"]
        served = [call for call in model.calls() if call.answered == "ok"]
        assert len(served) == CHUNKS * len(tasks)
        assert len(refused) > 0
