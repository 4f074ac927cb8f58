"""Tests on real workerd that HTTP requests advance a task even if queue, cron, alarms or RPC always fail at entry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import httpx
import pytest

from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.doors_by_variable import doors
from tests.support.model_server import ModelServer
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime
CHUNKS = 8
SMALL = {"maxChars": 40}
SHORT = {"LEASE_SECONDS": 1, "AI_TIMEOUT_SECONDS": 0.9}
# On the direct route, a run makes no call that may last longer than its invocation may work after the answer. With
# calls of up to 40 s, only cron could start a task of the direct route, and cron is dead in this test.
LONG = {"LEASE_SECONDS": 60, "AI_TIMEOUT_SECONDS": 40}
SERVERS: Mapping[str, tuple[Sequence[str], Mapping[str, object]]] = {
    "top": ((), SHORT),
    "free": (("--env", "free"), SHORT),
    "direct": (("--env", "direct"), LONG),
}
# Each case: server, dead triggers, the routes that may work on a polled task, and the routes whose failures the server
# must record.
CASES = [
    ("top", "queue", "durable-object direct", "queue"),  # The sweeps of cron dispatch a task to the dead queue.
    ("top", "cron", "queue", "cron"),
    ("top", "alarm", "queue", ""),
    ("top", "rpc", "queue", ""),
    ("top", "queue,cron,alarm,rpc", "direct", "queue,cron"),
    ("free", "cron", "durable-object", "cron"),
    ("free", "alarm", "direct", "alarm"),
    ("free", "rpc", "direct", "rpc"),
    ("free", "cron,alarm", "direct", "cron,alarm"),
    ("free", "cron,alarm,rpc", "direct", "cron,rpc"),
    pytest.param("direct", "cron", "direct", "cron", marks=pytest.mark.campaign),
]


@pytest.fixture(scope="module")
def started(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], DevServer]]:
    """Return the server of a set of routes, which the first test on them starts. Cron fires every second."""
    project = write_wired_worker(tmp_path_factory.mktemp("project"))
    made: dict[str, DevServer] = {}
    with ExitStack() as stack:

        def start(name: str) -> DevServer:
            if name not in made:
                environment, settings = SERVERS[name]
                flags = (*environment, *openai(model.base_url, **settings), *doors(dead=True), "--cron-every", "1")
                made[name] = stack.enter_context(DevServer(tmp_path_factory.mktemp(name), *flags, project=project))
            return made[name]

        yield start


@pytest.fixture
def server(started: Callable[[str], DevServer], name: str, dead: str, model: ModelServer) -> DevServer:
    running = started(name)
    model.wait_until_idle()
    model.reset()
    kill(running, dead)
    return running


@pytest.fixture
def client(server: DevServer) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


def kill(server: DevServer, dead: str) -> None:
    """From now on, let the given triggers of a server fail at entry, and let all other triggers work."""
    assert httpx.post(f"{server.url}/_test/dead", content=dead).text == "done"


def status(client: Client) -> Json:
    shown: Json = client.http.get("/api/async-status", params={"verbose": 1}).json()
    return shown


def assert_done(task: Json, model: ModelServer, routes: str = "direct") -> None:
    assert task["status"] == "completed"
    assert task["route"] in routes.split()
    assert (task["usage"]["modelCalls"], task["usage"]["inDoubt"]) == (CHUNKS, 0)
    assert len(model.calls()) == CHUNKS


@pytest.mark.parametrize(
    ("name", "dead", "seen"),
    [("top", "queue,cron,alarm,rpc", "lastQueueAt"), ("free", "cron,alarm,rpc", "lastAlarmAt")],
)
def test_status_shows_which_triggers_come(server: DevServer, client: Client, seen: str) -> None:
    client.http.post("/api/sweep")
    shown = status(client)
    swept = shown["lastSweepAt"]
    assert swept is not None
    assert (shown["lastQueueAt"], shown["lastAlarmAt"]) == (None, None)
    assert shown["backlog"] == {"pending": 0, "processing": 0, "oldestPendingSeconds": None}
    kill(server, "")
    eventually(lambda: status(client)["lastSweepAt"] > swept, pause=0.3)
    assert client.finished(client.submit(paragraphs(CHUNKS), chunk=SMALL)["id"])["status"] == "completed"
    shown = status(client)
    assert {one for one in ("lastQueueAt", "lastAlarmAt") if shown[one] is not None} == {seen}


@pytest.mark.parametrize(("name", "dead", "route", "failed"), CASES)
def test_polls_end_a_task(server: DevServer, client: Client, model: ModelServer, route: str, failed: str) -> None:
    before = len(server.lines)
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL)

    def polled() -> Json | None:
        shown = client.task(task["id"], wait=1)
        return shown if shown["terminal"] else None

    ended = eventually(polled, seconds=60)
    assert ended is not None
    assert_done(ended, model, route)
    for event in filter(None, failed.split(",")):
        server.wait_for_line(f"{event} events fail at entry", after=before)


@pytest.mark.parametrize(
    ("name", "dead"),
    [
        ("top", "queue,cron,alarm,rpc"),
        ("free", "cron,alarm"),
        pytest.param("direct", "cron", marks=pytest.mark.campaign),
    ],
)
def test_sweeps_that_are_asked_for_end_a_task(client: Client, model: ModelServer, name: str) -> None:
    task = client.submit(paragraphs(CHUNKS), chunk=SMALL)
    worked: list[Json] = []
    # On the direct route the sweep itself starts the run; on other routes it first dispatches the task in vain.
    done, dispatched = ("dispatched", 1) if name == "direct" else ("worked", 2)

    def swept() -> bool:
        answer = client.http.post("/api/sweep")
        assert answer.status_code in {200, 429}, answer.text
        if answer.status_code == 429:
            assert answer.headers["Retry-After"] == "1"
            return False
        worked.append(answer.json())
        return worked[-1][done] > 0

    eventually(swept, seconds=60)
    assert_done(client.task(task["id"]), model)
    assert sum(one["dispatched"] for one in worked) == dispatched
