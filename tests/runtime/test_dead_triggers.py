"""Queue, cron, alarms and RPC that throw at entry, on real workerd: whoever asks over HTTP moves a task."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer
from tests.support.wired_worker import DEAD_TRIGGERS, write_wired_worker

pytestmark = pytest.mark.runtime
CHUNKS = 8
SMALL = {"maxChars": 40}
# In `free` the object takes the task over RPC, and its alarm never comes. Without RPC the submission would work on it.
DEAD = {"top": ((), "queue,cron,alarm,rpc"), "free": (("--env", "free"), "cron,alarm")}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Worker, its triggers dead."""
    return write_wired_worker(tmp_path_factory.mktemp("project"), DEAD_TRIGGERS)


@pytest.fixture(scope="module", params=DEAD)
def dead(
    request: pytest.FixtureRequest, project: Path, model: ModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DevServer]:
    """It runs, with short leases, and cron fires every second, in vain."""
    environment, events = DEAD[request.param]
    settings = openai(model.base_url, DEAD=events, LEASE_SECONDS=1, AI_TIMEOUT_SECONDS=0.9)
    state = tmp_path_factory.mktemp("state")
    with DevServer(state, *environment, *settings, "--cron-every", "1", project=project) as server:
        yield server


@pytest.fixture
def client(dead: DevServer, model: ModelServer) -> Iterator[Client]:
    """A client of it, and an empty ledger."""
    model.wait_until_idle()
    model.reset()
    with Client(dead.url) as made:
        yield made


def assert_done(task: Json, model: ModelServer) -> None:
    """It has completed by the direct route, each chunk with one call."""
    assert (task["status"], task["route"]) == ("completed", "direct")
    assert (task["usage"]["modelCalls"], task["usage"]["inDoubt"]) == (CHUNKS, 0)
    assert len(model.calls()) == CHUNKS


def test_polls_end_a_task(dead: DevServer, client: Client, model: ModelServer):
    """A client that polls with `?wait=` gets its result."""
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL)
    assert task["route"] != "direct"
    assert_done(client.finished(task["id"]), model)
    assert any("events fail at entry" in line for line in dead.lines)


def test_sweeps_that_are_asked_for_end_a_task(client: Client, model: ModelServer):
    """Nobody polls: a monitor's `POST /api/sweep` works on it, says so, and is refused when it comes too soon."""
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL)
    worked: list[Json] = []

    def swept() -> bool:
        answer = client.http.post("/api/sweep")
        assert answer.status_code in {200, 429}, answer.text
        if answer.status_code == 429:
            assert answer.headers["Retry-After"] == "1"
            return False
        worked.append(answer.json())
        return worked[-1]["worked"] > 0

    eventually(swept, seconds=60)
    assert_done(client.task(task["id"]), model)
    assert sum(one["dispatched"] for one in worked) == 2


def test_status_shows_that_no_trigger_came(client: Client):
    """Sweeps have run, since requests begin them; no batch and no alarm was ever seen."""
    client.http.post("/api/sweep")
    shown = client.http.get("/api/async-status", params={"verbose": 1}).json()
    assert shown["lastSweepAt"] is not None
    assert (shown["lastQueueAt"], shown["lastAlarmAt"]) == (None, None)
    assert shown["backlog"] == {"pending": 0, "processing": 0, "oldestPendingSeconds": None}
