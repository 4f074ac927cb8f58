"""Waits on the real runtime end at odd moments, whatever its clock does: an isolate that spins answers no more."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan, slow
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime

# `?wait=`, and how many chunks the task has that is waited for.
WAITS = [(1.2342, 9), (0.7777, 7), (1, 12), (2.0501, 20), (2, 9)]


@pytest.fixture(scope="module")
def client(route: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of the Worker on one route, whose model takes an odd time for each call."""
    odd = random.Random(5)
    plan = Plan(decide=lambda _: slow(odd.uniform(0.05, 1.1)))
    state: Path = tmp_path_factory.mktemp("state")
    with ModelServer(api_key="test-key", plan=plan) as model:
        flags = openai(model.base_url, AI_CONCURRENCY=6)
        with (
            DevServer(state, *ENVIRONMENTS[route], *flags, "--cron-every", "600") as server,
            Client(server.url) as made,
        ):
            yield made


def test_waits_of_odd_times_end(client: Client):
    """Each request with `?wait=` is answered, and its task completes. On a clock that stands still within a turn the
    first of them used to hang the isolate."""
    for seconds, count in WAITS:
        task = client.submit(paragraphs(count), chunk={"maxChars": 40})
        client.task(task["id"], wait=seconds)
        assert client.finished(task["id"])["status"] == "completed"


def test_a_stream_of_odd_times_ends(client: Client):
    """Whoever follows a task gets its last event."""
    task = client.submit(paragraphs(9), chunk={"maxChars": 40})
    lines = client.http.get(task["links"]["events"]).text
    assert '"status":"completed"' in lines.replace(" ", ""), lines
