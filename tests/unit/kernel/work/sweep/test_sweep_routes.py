"""The sweep when routes refuse tasks: which task the sweep runs itself, at what cost, and what the others do."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from src.composition import App, Bindings
from src.kernel.api.base.services import RequestMemory
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.ids import LOCAL, TaskKey, new_task_id, task_key_of
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings, load
from src.kernel.domain.task import Reduce, Route
from src.kernel.run.allowance import slice_seconds
from src.kernel.work.dispatch import DirectSender
from tests.support.invocations import Road, new_sweep
from tests.support.store_bench import START_MS, new_task, stored_outputs
from tests.support.worker_bench import WorkerBench

PLATFORM = 50  # the subrequests, and also the statements, that the platform allows an invocation on the free plan


class Cron:
    """A deployment on the free plan with this many due tasks, whose cron trigger a test fires."""

    def __init__(self, tasks: int, chunks: int, **settings: Any) -> None:
        self.bench = WorkerBench(**settings)
        self.bench.settings = replace(self.bench.settings, plan="free")
        self.meter = Meter()
        self.out = self.most_out = 0
        for number in range(tasks):
            task = new_task(f"local:{number:03}", chunks, Reduce.CONCAT, START_MS)
            self.bench.do(self.bench.store.insert(task, 0))
        infer = self.bench.model.infer

        async def counted(call: ModelCall) -> Any:
            self.out += 1
            self.most_out = max(self.most_out, self.out)
            reply = await infer(call)
            self.out -= 1
            return reply

        self.bench.model.infer = counted  # type: ignore[method-assign]

    def fire(self, *roads: Road) -> None:
        """Run the sweep once, a minute later, and check it against the platform's limits and the stored outputs."""
        self.bench.do(asyncio.sleep(60))
        worker = self.bench.worker()
        self.meter = worker.meter
        self.bench.do(new_sweep(worker, roads).run())
        assert self.meter.subrequests <= self.bench.settings.subrequests
        assert self.meter.statements <= PLATFORM
        assert self.out == 0
        assert len(stored_outputs(self.bench.database)) == len(self.bench.model.calls)

    def due(self) -> set[str]:
        rows = self.bench.database.rows(
            "SELECT id FROM tasks WHERE status = 'pending' AND dispatches = 0 AND wake_at <= ?",
            START_MS + round(self.bench.loop.time() * 1000),
        )
        return {str(row["id"]) for row in rows}

    def completed(self) -> int:
        (row,) = self.bench.database.rows("SELECT count(*) AS done FROM tasks WHERE status = 'completed'")
        return int(row["done"])


@pytest.fixture
def cron():
    made: list[Cron] = []

    def build(*args: int, **settings: Any) -> Cron:
        made.append(Cron(*args, **settings))
        return made[-1]

    yield build
    for one in made:
        one.bench.close()


def refusing() -> tuple[Road, Road]:
    return Road(Route.QUEUE, takes=0), Road(Route.DURABLE_OBJECT, takes=0)


def test_where_all_routes_refuse_one_task_runs_at_a_time(cron: Callable[..., Cron]):
    made = cron(60, 10)
    made.fire(*refusing())
    assert made.most_out == 6
    assert made.completed() >= 1
    assert len(made.due()) == 60 - made.completed()
    for _ in range(40):
        made.fire(*refusing())
    assert (made.completed(), len(made.bench.model.calls)) == (60, 600)


def test_a_task_too_long_for_a_run_goes_on_in_the_next(cron: Callable[..., Cron]):
    made = cron(2, 50)
    for _ in range(5):
        made.fire(*refusing())
    assert (made.completed(), len(made.bench.model.calls)) == (2, 100)


@pytest.mark.parametrize("taken", [1, 2, 9])
def test_routes_that_begin_to_refuse_in_the_middle_put_nothing_off(cron: Callable[..., Cron], taken: int):
    made = cron(40, 2)
    queue = Road(Route.QUEUE, takes=taken)
    made.fire(queue, Road(Route.DURABLE_OBJECT, takes=0))
    assert (len(queue.sent), made.bench.model.calls) == (taken, [])
    assert len(made.due()) == 40 - taken
    made.fire(queue, Road(Route.DURABLE_OBJECT, takes=0))
    assert made.completed() >= 1
    assert made.most_out == 2


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_a_queue_that_refuses_costs_no_more_than_the_invocation_has(cron: Callable[..., Cron], taken: int):
    made = cron(60, 2)
    queue, objects = Road(Route.QUEUE, takes=taken), Road(Route.DURABLE_OBJECT)
    made.fire(queue, objects)
    assert len(objects.sent) >= 18
    assert made.due() == {f"local:{number:03}" for number in range(60)} - {*queue.sent, *objects.sent}
    while made.due():
        made.fire(queue, objects)
    assert len(queue.sent) + len(objects.sent) == 60


def test_what_stays_due_is_not_written_where_refusals_are_seen_at_once(cron: Callable[..., Cron]):
    made = cron(60, 2)
    made.fire(*refusing())
    made.fire(Road(Route.QUEUE, takes=0), Road(Route.DURABLE_OBJECT))
    assert made.bench.events("made_due") == []


def test_where_routes_work_a_page_costs_one_call_more_than_its_sends(cron: Callable[..., Cron]):
    made = cron(60, 2)
    queue = Road(Route.QUEUE)
    made.fire(queue)
    assert (len(queue.sent), made.meter.subrequests) == (40, 43 + 2)


def test_no_call_of_a_sweep_outlasts_the_cron_trigger(cron: Callable[..., Cron]):
    made = cron(3, 12, timeout_seconds=600.0, lease_seconds=700.0)
    made.bench.model.seconds = lambda number: 590.0
    for runs in range(1, 7):
        began = made.bench.loop.time() + 60
        made.fire()
        assert made.bench.loop.time() - began < limits.SWEEP_WALL_SECONDS
        assert len(made.bench.model.calls) == 6 * runs
    assert made.completed() == 3


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        (Settings(provider="demo"), (20, 600, 300)),
        (Settings(provider="openai", timeout_seconds=2), (20, 600, 300)),
        (Settings(provider="openai", timeout_seconds=20), (5, 600, 300)),
        (Settings(provider="workers-ai", timeout_seconds=120), (-95, 600, 300)),
        (Settings(provider="workers-ai", timeout_seconds=600), (-575, 295, 290)),
    ],
)
def test_a_slice_leaves_room_for_the_longest_call(settings: Settings, seconds: tuple[float, ...]):
    assert seconds == (
        slice_seconds(settings, limits.DIRECT_SLICE_SECONDS, limits.DIRECT_WALL_SECONDS),
        slice_seconds(settings, limits.QUEUE_SLICE_SECONDS, limits.QUEUE_WALL_SECONDS),
        slice_seconds(
            settings, limits.OBJECT_SLICE_SECONDS, limits.OBJECT_WALL_SECONDS, slack=limits.LANE_SLACK_SECONDS
        ),
    )


def test_where_a_call_may_outlast_the_invocation_the_next_sweep_begins_the_task(bench: WorkerBench):
    """The direct route makes the task due at once, without a claim or a call."""
    bench.insert(2)
    runs: list[Any] = []
    worker = bench.worker()

    async def send() -> None:
        sender = DirectSender(worker, lambda: -95.0, runs.append)
        for _ in range(2):
            await sender.send(TaskKey("task"), 0)
        await sender.send(TaskKey("task"), 10)  # the sweep already takes care of a delayed task
        for run in runs:
            await run()

    assert bench.do(bench.store.due(10)).empty
    bench.do(send())
    assert (worker.meter.statements, bench.model.calls, bench.task().attempts) == (2, [], 0)
    assert bench.do(bench.store.due(10)).idle == ["task"]


def test_only_what_nobody_works_on_is_hastened(bench: WorkerBench):
    keys = [TaskKey("local:idle"), TaskKey("local:live"), TaskKey("local:over")]
    for key in keys:
        bench.do(bench.store.insert(new_task(key, 1, Reduce.CONCAT, START_MS), bench.settings.lease_ms))
    bench.do(bench.store.claim(keys[1], holder="one", host="", route=Route.QUEUE, lease_ms=4_000_000))
    assert bench.do(bench.store.cancel(keys[2], 1_000_000))[0]
    for seconds in (180, 360):
        bench.do(asyncio.sleep(seconds))
        taken = bench.do(bench.store.take_due(bench.do(bench.store.due(10)), bench.settings.lease_ms))
        assert taken == ["local:idle"]
    bench.do(asyncio.sleep(1))
    for _ in range(2):
        bench.do(bench.store.make_due(keys))
    rows = bench.database.rows("SELECT wake_at, dispatches FROM tasks ORDER BY id")
    assert [row["wake_at"] - START_MS for row in rows] == [541_000, 4_000_000, 1_000_000]
    # Because the idle task was made due again, the last of its two dispatches no longer counts.
    assert [row["dispatches"] for row in rows] == [1, 0, 0]


class Message:
    id, attempts = "message", 1

    def __init__(self, key: str) -> None:
        self.body = {"taskId": key}
        self.end = ""

    def ack(self) -> None:
        self.end = "ack"

    def retry(self, options: dict[str, int]) -> None:
        self.end = "retry"


class Refusing:
    """A queue and a namespace of objects that refuse every task."""

    async def send(self, *_: object) -> None:
        raise RuntimeError("the day's operations are used up")

    async def start(self, *_: object) -> None:
        raise RuntimeError("the day's requests are used up")

    def getByName(self, name: str) -> "Refusing":  # noqa: N802 - the platform's name
        return self


def test_a_continuation_that_no_route_takes_is_the_next_sweeps(bench: WorkerBench):
    key = task_key_of(LOCAL, new_task_id(START_MS, b"0123456789"))
    bench.do(bench.store.insert(new_task(key, 100, Reduce.CONCAT, START_MS), bench.settings.lease_ms))
    waited: list[Awaitable[None]] = []
    runtime = SimpleNamespace(chance=lambda: 0.0, entropy=bytes, write=bench.lines.append, courier=None)
    refusing: Any = Refusing()
    bindings = Bindings(database=bench.database, queue=refusing, processors=refusing)
    variables = {"PLAN": "free", "AI_TIMEOUT_SECONDS": "2"}
    app = App(bindings, load(variables.get), runtime, waited.append, RequestMemory(), bench.model)
    message = Message(key)

    async def deliver() -> None:
        await app.queue(SimpleNamespace(queue="ai-processing-queue", messages=[message]))
        for run in waited:
            await run

    bench.do(deliver())
    assert (message.end, len(waited)) == ("ack", 1)
    assert sum('"claimed"' in str(line) for line in bench.lines) == 1
    assert max(app.meter.subrequests, app.meter.statements) <= PLATFORM
    assert bench.do(bench.store.due(10)).idle == [key]
