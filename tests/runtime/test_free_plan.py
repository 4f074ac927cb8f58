"""The free plan on the real runtime: long tasks, the day's use, limits, and clean storage."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench import free_plan, measured
from src.kernel.domain import limits
from tests.support import metered
from tests.support.client import Client, Json, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer
from tests.support.tiny_worker import write_tiny_worker

pytestmark = pytest.mark.runtime
LONG = 200
WIDTH = limits.LANES_MOST * limits.LANE_CALLS
SMALL_TASKS = 60
OURS = 45  # The Worker's own limit of subrequests for an invocation; the platform's limit is 50.


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key", latency_seconds=0.2) as server:
        yield server


@pytest.fixture(scope="module")
def free(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    state = tmp_path_factory.mktemp("free")
    with DevServer(state, "--env", "free", "--limits", "free", *openai(model.base_url), "--cron-every", "5") as server:
        yield server


@pytest.fixture(scope="module")
def queues(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    state = tmp_path_factory.mktemp("queues")
    with DevServer(state, "--limits", "free", *openai(model.base_url), "--cron-every", "5") as server:
        yield server


def long_task(server: DevServer, model: ModelServer) -> Json:
    model.wait_until_idle()
    model.reset()
    model.hold()
    with Client(server.url) as client:
        task = client.submit(paragraphs(LONG), chunk={"maxChars": 40})
        model.wait_for_in_flight(WIDTH, 60)
        model.release()
        task = client.finished(task["id"])
    assert task["status"] == "completed"
    assert task["usage"]["modelCalls"] == LONG == len(model.calls())
    assert max(call.in_flight for call in model.calls()) == WIDTH
    return task


def check_limits(server: DevServer) -> None:
    lines = metered.lines(server)
    assert not [line for line in lines if "passed" in line]
    assert max(line["subrequests"] for line in lines) <= OURS
    assert max(line["d1_statements"] for line in lines) <= OURS
    assert max(line["most_waiting"] for line in lines) <= 6


def test_a_wait_reads_its_task_when_it_begins_and_when_it_has_ended(
    free: DevServer, queues: DevServer, model: ModelServer
):
    model.latency_seconds = 2.0
    try:
        for server, subrequests in ((queues, 2), (free, 3)):
            with Client(server.url) as client:
                task = client.submit(paragraphs(3), chunk={"maxChars": 40})
                shown = client.http.get(task["links"]["self"], params={"wait": 25}).json()
            assert shown["status"] == "completed"
            line = eventually(lambda: spent(server, f"GET /api/tasks/{task['id']}"))  # noqa: B023 - called here
            assert (line["d1_statements"], line["subrequests"]) == (6, subrequests), line
    finally:
        model.latency_seconds = 0.2


def spent(server: DevServer, request: str) -> Json:
    return next((line for line in metered.lines(server) if line.get("request") == request), {})


def test_200_chunks_are_as_wide_on_objects_as_on_the_queue(free: DevServer, queues: DevServer, model: ModelServer):
    on_queue, on_objects = long_task(queues, model), long_task(free, model)
    assert (on_queue["route"], on_objects["route"]) == ("queue", "durable-object")
    # The call that closes the coordinator comes after the end of the task.
    eventually(lambda: of_handler(free, "BatchCoordinator.close"))
    for server in (free, queues):
        check_limits(server)
    assert {line["handler"] for line in metered.lines(free)} >= {
        "fetch",
        "AIProcessor.start",
        "AIProcessor.alarm",
        "AIProcessor.infer",
        "BatchCoordinator.reach",
        "BatchCoordinator.infer",
        "BatchCoordinator.close",
    }
    assert {line["handler"] for line in metered.lines(queues)} >= {
        "queue",
        "AIProcessor.infer",
        "BatchCoordinator.infer",
    }


def test_the_meter_and_the_worker_count_the_same(queues: DevServer):
    with Client(queues.url) as client:
        task = client.finished(client.submit(paragraphs(20), chunk={"maxChars": 40})["id"])
    start = next(at for at, line in enumerate(queues.lines) if "claimed" in line and task["id"] in line)
    queues.wait_for_line('"handler":"queue"', after=start)
    run = next(
        json.loads(line)
        for line in queues.lines[start:]
        if line.startswith('{"event":"run_ended"') and task["id"] in line
    )
    (line,) = [line for line in metered.lines(queues, start) if line["handler"] == "queue"]
    assert line["subrequests"] == run["subrequests"]
    assert (line["d1_calls"], line["d1_statements"]) == (run["database_calls"], run["statements"])
    assert (line["rows_read"], line["rows_written"]) == (run["rows_read"], run["rows_written"])
    assert line["queue_operations"] == 2


def of_handler(server: DevServer, handler: str, start: int = 0) -> list[Json]:
    return [line for line in metered.lines(server, start) if line["handler"] == handler]


def run_of_20_chunks(server: DevServer, client: Client, route: str) -> tuple[int, str]:
    start = len(server.lines)
    task = client.finished(client.submit(paragraphs(20), chunk={"maxChars": 40})["id"])
    eventually(lambda: of_handler(server, free_plan.SLICES[route], start))
    spent = [line for line in metered.lines(server, start) if line["handler"] != "scheduled"]
    return sum(line["rows_written"] for line in spent), task["id"]


def rows_of_erasure(server: DevServer, client: Client, task_id: str) -> int:
    """Erase a task after two runs of cron, which added it to the sums, and return the rows written."""
    crons = len(of_handler(server, "scheduled"))
    eventually(lambda: len(of_handler(server, "scheduled")) >= crons + 2)
    start = len(server.lines)
    assert client.http.delete(f"/api/tasks/{task_id}").status_code == 204
    (line,) = eventually(lambda: of_handler(server, "fetch", start))
    return int(line["rows_written"])


@pytest.mark.parametrize("route", free_plan.ROUTES)
def test_a_task_writes_what_the_costs_count_with(free: DevServer, queues: DevServer, model: ModelServer, route: str):
    """A task of 20 chunks, its erasure, and the cron run that adds it to the sums write as many rows as
    `bench/measured.py` says.

    Calls that end within a fifth of their duration are recorded in the same write. In this test a model call takes a
    second, so that a busy machine rarely splits a wave of calls. If a wave is split, the test tries another task.
    """
    server = {"queue": queues, "durable-object": free}[route]
    found: list[tuple[int, str]] = []
    model.latency_seconds = 1.0
    with Client(server.url) as client:
        while len(found) < 5 and (not found or min(found)[0] > measured.ROWS["task"]):
            found.append(run_of_20_chunks(server, client, route))
        model.latency_seconds = 0.2
        assert min(found)[0] == measured.ROWS["task"], found
        assert rows_of_erasure(server, client, found[-1][1]) == measured.ROWS["erasure"]
    assert measured.ROWS["sums"] in {line["rows_written"] for line in of_handler(server, "scheduled")}


def test_finished_tasks_leave_no_storage_and_no_alarm(free: DevServer):
    start = len(free.lines)
    with Client(free.url) as client, ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda number: client.submit(f"Text {number}. It is short.")["id"], range(SMALL_TASKS)))
        done = list(pool.map(client.finished, ids))
    assert {task["status"] for task in done} == {"completed"}
    eventually(lambda: len(of_handler(free, "AIProcessor.alarm", start)) >= SMALL_TASKS)
    assert len(metered.object_files(free.persist_to)) >= SMALL_TASKS
    eventually(lambda: not metered.object_rows(free.persist_to))
    check_limits(free)


def test_the_day_s_use_is_shown_and_kept(tmp_path: Path):
    """`?verbose=1` shows it, also after a SIGKILL; without the meter there is none."""
    flags = ("--env", "free", "--cron-every", "60")
    with DevServer(tmp_path, *flags) as server, Client(server.url) as client:
        client.finished(client.submit("A text. Another sentence.")["id"])

        def usage() -> Json:
            return client.http.get("/api/async-status?verbose=1").json()["usage"]

        # The meter prints the lines of the object's call and of its alarm only after the task's end.
        eventually(lambda: of_handler(server, "AIProcessor.alarm"))
        assert eventually(lambda: (found := usage())["objectRequests"]["used"] >= 2 and found)
        written = sum(line["rows_written"] for line in metered.lines(server))
        shown = eventually(lambda: (found := usage())["rowsWritten"]["used"] == written and found)
        assert shown["rowsWritten"]["limit"] == 100_000
        assert shown["queueOperations"] == {"used": 0, "limit": 10_000}
        assert shown["objectGbSeconds"]["limit"] == 13_000
        assert "usage" not in client.http.get("/api/async-status").json()
        server.wait_for_line('"event":"day_use"')
        saved = tmp_path / "usage.json"
        eventually(lambda: saved.exists() and json.loads(saved.read_text())["rowsWritten"] == written)
        server.kill()
    with DevServer(tmp_path, *flags, "--limits", "paid") as server, Client(server.url) as client:
        again = client.http.get("/api/async-status?verbose=1").json()["usage"]
        assert again["rowsWritten"]["used"] == written
    with DevServer(tmp_path, *flags, "--limits", "off") as server, Client(server.url) as client:
        assert client.http.get("/api/async-status?verbose=1").json()["usage"] is None
        assert not metered.lines(server)


GREEDY = """
    from workers import DurableObject, Response, WorkerEntrypoint


    class Counter(DurableObject):
        async def ask(self, times):
            for _ in range(times):
                await self.env.DB.prepare("SELECT 1").run()
            return times


    class Default(WorkerEntrypoint):
        async def fetch(self, request):
            path = request.url.split("/", 3)[3]
            if path.startswith("api/"):
                return Response.json({})
            what, times = path.split("/")
            try:
                return Response.json({"done": await getattr(self, what)(int(times))})
            except Exception as error:
                return Response.json({"error": str(error)})

        async def statements(self, times):
            await self.env.DB.batch([self.env.DB.prepare("SELECT 1") for _ in range(times)])

        async def subrequests(self, times):
            for _ in range(times):
                await self.env.JOBS.send({"n": 1})

        async def objects(self, times):
            counter = self.env.COUNTER.getByName("one")
            return [await counter.ask(40) for _ in range(times)]

        async def queue(self, batch, env=None, ctx=None):
            pass

        async def scheduled(self, controller, env=None, ctx=None):
            pass
"""


def test_limits_bite(tmp_path: Path):
    source = write_tiny_worker(tmp_path / "project")
    lines = GREEDY.split("\n")
    (source / "entry.py").write_text("\n".join(line.removeprefix("    ") for line in lines))
    with (
        DevServer(tmp_path / "state", "--limits", "free", project=tmp_path / "project") as server,
        Client(server.url) as client,
    ):

        def ask(path: str) -> Json:
            return client.http.get(path).json()

        with ThreadPoolExecutor(4) as pool:  # Four tasks run at the same time, and each task has counts of its own.
            assert list(pool.map(ask, ["/statements/50"] * 4)) == [{"done": None}] * 4
        assert "Too many API requests by single Worker invocation" in ask("/statements/51")["error"]
        assert ask("/subrequests/50") == {"done": None}
        assert "Too many subrequests" in ask("/subrequests/51")["error"]
        assert ask("/objects/3") == {"done": [40, 40, 40]}  # each invocation sent 40 statements
        passed = [line["passed"] for line in metered.lines(server) if "passed" in line]
        assert passed == ["d1_statements", "subrequests"]
