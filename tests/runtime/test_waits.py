"""Tests waits that end at fractions of a millisecond, on both clocks of the real runtime: no wait may loop for ever."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan, slow
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime

# For each case, the value of `?wait=` in seconds, and the number of the task's chunks.
WAITS = [(1.2342, 9), (0.7777, 7), (1, 12), (2.0501, 20), (2, 9)]


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    odd = random.Random(5)
    with ModelServer(api_key="test-key", plan=Plan(decide=lambda _: slow(odd.uniform(0.05, 1.1)))) as made:
        yield made


@pytest.fixture(scope="module", params=["queue", "durable-object", pytest.param("direct", marks=pytest.mark.campaign)])
def route(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def serving(state: Path, route: str, model: ModelServer, **more: str) -> Iterator[tuple[DevServer, Client]]:
    flags = openai(model.base_url, AI_CONCURRENCY=6, **more)
    with DevServer(state, *ENVIRONMENTS[route], *flags, "--cron-every", "600") as server, Client(server.url) as made:
        yield server, made


@pytest.fixture(scope="module")
def client(route: str, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with serving(tmp_path_factory.mktemp("state"), route, model) as (_, made):
        yield made


def wait_for_each(client: Client) -> None:
    for seconds, count in WAITS:
        task = client.submit(paragraphs(count), chunk={"maxChars": 40})
        client.task(task["id"], wait=seconds)
        assert client.finished(task["id"])["status"] == "completed"


def test_waits_of_odd_times_end(client: Client):
    """The first of these waits once made the isolate hang, on a clock that stands still."""
    wait_for_each(client)


def test_waits_end_on_pyodides_own_loop(model: ModelServer, tmp_path: Path):
    """All waits end on Pyodide's own event loop, which uses no timer for 2 ms or less."""
    with serving(tmp_path, "durable-object", model, EVENT_LOOP="pyodide") as (server, client):
        wait_for_each(client)
        assert '"event":"event_loop_kept"' in server.output


def test_a_stream_of_odd_times_ends(client: Client):
    task = client.submit(paragraphs(9), chunk={"maxChars": 40})
    lines = client.http.get(task["links"]["events"]).text
    assert '"status":"completed"' in lines.replace(" ", ""), lines
