"""Tests on real workerd that an operator ends an outage: waiting tasks of two tenants go on, and a new task at once."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.make_key import insert_key
from tests.support.model_plan import Plan, status
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
OUTAGE_SECONDS = 20
TASKS, CHUNKS, SMALL = 4, 2, {"maxChars": 40}
OURS, THEIRS = "local", "acme"


@pytest.fixture(scope="module", params=["queue", "durable-object"])
def route(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key", latency_seconds=0.3) as made:
        yield made


@pytest.fixture(scope="module")
def clients(route: str, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    settings = openai(model.base_url, AI_TIMEOUT_SECONDS=10, PLAN="paid", REQUIRE_KEYS="true")
    state: Path = tmp_path_factory.mktemp("state")
    with DevServer(state, *ENVIRONMENTS[route], *settings) as server:
        made = {tenant: Client(server.url, insert_key(state, tenant)) for tenant in (OURS, THEIRS)}
        yield made
        for client in made.values():
            client.http.close()


def submit(client: Client) -> str:
    return str(client.submit(paragraphs(CHUNKS), chunk=SMALL)["id"])


def resume(client: Client) -> Json:
    answer = client.http.post("/api/sweep", json={"resume": True})
    assert answer.status_code == 200, answer.text
    done: Json = answer.json()
    return done


def health(client: Client) -> Json:
    found: Json = client.http.get("/api/ai-status").json()
    return found


def test_an_outage_ends_when_an_operator_says_so(clients: dict[str, Client], model: ModelServer) -> None:
    """After 502 behind a healthy list of models, `resume` lets the tasks of two tenants go on."""
    ours, theirs = clients[OURS], clients[THEIRS]
    began = time.monotonic()
    model.plan = Plan(decide=lambda call: status(502))
    tasks = [(client, submit(client)) for client in clients.values() for _ in range(TASKS)]
    eventually(lambda: health(ours)["waiting"] == len(tasks), seconds=60, pause=2)
    found = health(ours)
    assert (found["status"], found["codes"][0]["code"]) == ("unavailable", "model_unavailable")
    assert health(theirs)["waiting"] == TASKS
    time.sleep(max(0.0, OUTAGE_SECONDS - (time.monotonic() - began)))
    model.plan = Plan()
    ended = resume(ours)
    asked_at = time.monotonic()
    assert [one["answered"] for one in ended["probed"]] == [True]
    assert 1 <= ended["resumed"] <= len(tasks)  # on a busy machine some have called their model by themselves
    for client, task_id in tasks:
        assert client.finished(task_id)["status"] == "completed"
    print(f"completed {time.monotonic() - asked_at:.1f} s after the answer to {ended}")
    eventually(lambda: health(ours)["status"] == "healthy", seconds=30, pause=2)


def test_a_new_task_calls_by_itself(clients: dict[str, Client], model: ModelServer) -> None:
    ours = clients[OURS]
    model.plan = Plan(decide=lambda call: status(502))
    old = submit(ours)
    eventually(lambda: ours.task(old)["waitingFor"] is not None, seconds=60, pause=2)
    time.sleep(OUTAGE_SECONDS)
    model.plan = Plan()
    began = time.monotonic()
    new = submit(ours)
    assert ours.finished(new)["status"] == "completed"
    print(f"a new task completed in {time.monotonic() - began:.1f} s")
