"""A long task on the queue's route, in virtual time: its lanes, the time limits of its host, and its close call."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from src.composition import App, Bindings
from src.core import limits
from src.core.errors import CallAborted
from src.core.ids import TaskKey
from src.core.settings import Settings, load
from src.core.states import Status
from src.core.task import Reduce, Route, Task
from src.http.base.isolate import RequestMemory
from src.inference import wire
from src.inference.protocol import Health, ModelCall, ModelReply
from src.inference.wire import Wire
from src.objects.lane import Lane
from src.objects.laned_host import Lanes
from src.processing.log import Log
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import WorkerBench

TASK = TaskKey("local:0192f0c8-7c00-7000-8000-000000000000")
LONG = limits.LANES_MOST * limits.LANE_CHUNKS
ALONE = limits.LANE_CALLS


@dataclass
class Delivery:
    """The delivery of a message; `acked_at` is the time at which the consumer acknowledged it."""

    bench: WorkerBench
    id: str = "message"
    attempts: int = 1
    body: Any = None
    acked_at: float | None = None
    retried: bool = False

    def ack(self) -> None:
        self.acked_at = self.bench.loop.time()

    def retry(self, options: dict[str, int]) -> None:
        self.retried = True


class Coordinators:
    """A stand-in for all coordinators, each with its lanes.

    `most` is the largest number of calls that were in flight together.
    """

    name = "counted"
    default_model = "m"

    def __init__(self, bench: WorkerBench) -> None:
        self.bench = bench
        self.groups: list[int] = []
        self.closed: list[tuple[int, float]] = []
        self.aborted: list[int] = []
        self.signs = 0
        self.breaks: Exception | None = None
        self.unreachable: Exception | None = None
        self.most = 0
        self._now = 0
        self._lanes: list[Lane] = []

    def getByName(self, name: str) -> "Coordinators":  # noqa: N802 - the platform's name
        assert name == TASK
        return self

    async def reach(self) -> None:
        self.signs += 1
        if self.unreachable is not None:
            raise self.unreachable

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        self.groups.append(len(calls))
        number = wire.lane_of(calls)
        if number is None:
            self._lanes.append(Lane())
            number = len(self._lanes)
        worker: Any = SimpleNamespace(store=self.bench.store, provider=Provider(self), settings=self.bench.settings)
        outcomes = await self._lanes[number - 1].infer(worker, task_key, fence, calls)
        return [wire.from_lane(outcome, number) for outcome in outcomes]

    async def abort(self, task_key: TaskKey, fence: int) -> None:
        self.aborted.append(fence)
        for lane in self._lanes:
            lane.abort(fence)

    async def close(self, fence: int) -> None:
        self.closed.append((fence, self.bench.loop.time()))
        if self.breaks is not None:
            raise self.breaks

    # The model that the consumer and all lanes call.

    async def infer_one(self, call: ModelCall) -> ModelReply:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            return await self.bench.model.infer(call)
        finally:
            self._now -= 1

    async def probe(self) -> Health:
        return Health("healthy", "")


class Provider:
    """The model of `Coordinators` as a provider of its own, since providers and lanes both have a method `infer`."""

    name = "counted"
    default_model = "m"

    def __init__(self, coordinators: Coordinators) -> None:
        self.infer = coordinators.infer_one
        self.probe = coordinators.probe


class QueueBench:
    """A Worker with a queue, and by default with objects, to which a test delivers one message."""

    def __init__(self, chunks: int = LONG, *, objects: bool = True, **variables: str) -> None:
        self.bench = WorkerBench()
        new = new_task(TASK, chunks, Reduce.CONCAT, START_MS)
        self.bench.do(self.bench.store.insert(new, self.bench.settings.lease_ms))
        self.coordinators = Coordinators(self.bench)
        self.sent: list[object] = []
        self.delivery = Delivery(self.bench, body={"taskId": TASK})
        bound: Any = self.coordinators if objects else None
        queue: Any = self
        self._bindings = Bindings(database=self.bench.database, queue=queue, processors=bound, coordinators=bound)
        self._variables = {"PLAN": "paid", "AI_PROVIDER": "workers-ai", **variables}
        self.lines: list[str] = []

    async def send(self, body: object, *options: object) -> None:
        self.sent.append(body)

    def app(self) -> App:
        runtime: Any = SimpleNamespace(
            chance=lambda: 0.0,
            courier=None,
            entropy=bytes,
            write=self.lines.append,
            now_ms=lambda: START_MS + round(self.bench.loop.time() * 1000),
        )
        provider: Any = Provider(self.coordinators)
        return App(self._bindings, load(self._variables.get), runtime, lambda run: None, RequestMemory(), provider)

    def consume(self, meanwhile: Callable[[], Any] | None = None, after: float = 3.0) -> App:
        """Let the message be consumed. `meanwhile` happens some seconds later."""
        app = self.app()
        batch: Any = SimpleNamespace(queue="ai-processing-queue", messages=[self.delivery])

        async def play() -> None:
            consumed = asyncio.ensure_future(app.queue(batch))
            if meanwhile is not None:
                await asyncio.sleep(after)
                await meanwhile()
            await consumed

        self.bench.do(play())
        return app

    @property
    def task(self) -> Task:
        found = self.bench.do(self.bench.store.task(TASK))
        assert isinstance(found, Task)
        return found

    def heard(self, event: str) -> bool:
        return any(f'"event":"{event}"' in line for line in self.lines)


@pytest.fixture
def make() -> Iterator[Callable[..., QueueBench]]:
    made: list[QueueBench] = []

    def build(*arguments: Any, **options: Any) -> QueueBench:
        made.append(QueueBench(*arguments, **options))
        return made[-1]

    yield build
    for one in made:
        one.bench.close()


Make = Callable[..., QueueBench]


def test_a_long_task_has_thirty_calls_in_flight(make: Make):
    """A task of 120 chunks on the queue's route takes five waves of lanes, not twenty, and each call is billed once.

    After the task's end the message is acknowledged, and then the coordinator gets a close call with the claim's fence.
    """
    queue = make()
    queue.consume()
    task = queue.task
    assert (task.status, task.route) == (Status.COMPLETED, Route.QUEUE)
    assert queue.coordinators.most == limits.LANES_MOST * limits.LANE_CALLS
    assert len(queue.bench.model.calls) == LONG == task.usage.model_calls
    assert task.usage.in_doubt == 0
    assert max(queue.coordinators.groups) == limits.LANE_CALLS
    ((fence, at),) = queue.coordinators.closed
    assert fence == 1
    assert queue.delivery.acked_at is not None
    assert queue.delivery.acked_at <= at


@pytest.mark.parametrize(
    ("chunks", "objects", "variables"),
    [
        (LONG, False, {}),
        (limits.LANES_FROM_CHUNKS - 1, True, {}),
        (LONG, True, {"AI_CONCURRENCY": "1"}),
    ],
    ids=["no objects", "a short task", "one call at a time"],
)
def test_where_there_are_no_lanes_nothing_is_asked_of_objects(
    make: Make, chunks: int, objects: bool, variables: dict[str, str]
):
    """A task without lanes makes no ping and no close call, and so no object request and no subrequest for them."""
    queue = make(chunks, objects=objects, **variables)
    app = queue.consume()
    assert queue.task.status is Status.COMPLETED
    assert queue.coordinators.most == int(variables.get("AI_CONCURRENCY", ALONE))
    assert (queue.coordinators.groups, queue.coordinators.signs, queue.coordinators.closed) == ([], 0, [])
    assert app.meter.subrequests == chunks + app.meter.database_calls


def test_what_is_asked_of_objects_is_on_the_meter(make: Make):
    """The ping, each group of calls, and the close call count as subrequests of the consumer."""
    queue = make()
    app = queue.consume()
    assert queue.coordinators.signs == 1
    assert app.meter.subrequests == app.meter.database_calls + 1 + len(queue.coordinators.groups) + 1


@pytest.mark.parametrize("objects", [True, False])
def test_the_host_leaves_lanes_their_time(make: Make, objects: bool):
    """If lanes may make calls, slice and lease allow for the way to the lanes and for their start window."""
    queue = make(objects=objects)
    worker = queue.app().worker()
    lanes = Lanes(queue.app()._bindings.coordinators, Log(lambda line: None))
    for timeout, seconds in ((120, limits.QUEUE_SLICE_SECONDS), (600, 272.0 if objects else 295.0)):
        settings = Settings(provider="workers-ai", timeout_seconds=timeout)
        host = lanes.host(
            SimpleNamespace(settings=settings),  # type: ignore[arg-type]
            Route.QUEUE,
            limits.QUEUE_SLICE_SECONDS,
            limits.QUEUE_WALL_SECONDS,
        )
        assert (host.route, host.seconds) == (Route.QUEUE, seconds)
        assert host.slack_seconds == (limits.LANE_SLACK_SECONDS if objects else 0)
    assert worker.settings.provider == "workers-ai"


@pytest.mark.parametrize("error", [RuntimeError("Network connection lost."), AttributeError("close")])
def test_a_goodbye_that_fails_is_no_failure_of_the_message(make: Make, error: Exception):
    """If the coordinator's close call fails, the message still succeeds, and the coordinator cleans up later."""
    queue = make()
    queue.coordinators.breaks = error
    queue.consume()
    assert queue.task.status is Status.COMPLETED
    assert queue.delivery.acked_at is not None
    assert not queue.delivery.retried
    assert queue.heard("close_failed")


def test_a_task_that_goes_on_elsewhere_keeps_its_coordinator(make: Make, monkeypatch: pytest.MonkeyPatch):
    """If a slice ends before its task, it makes no close call, so the coordinator still knows which lanes are busy."""
    monkeypatch.setattr(limits, "QUEUE_SLICE_SECONDS", 2.5)
    queue = make()
    queue.consume()
    assert queue.task.status is Status.PENDING
    assert (len(queue.sent), queue.coordinators.closed) == (1, [])
    while queue.task.status is Status.PENDING:
        queue.consume()
    assert queue.task.status is Status.COMPLETED
    assert [fence for fence, _ in queue.coordinators.closed] == [queue.task.mark.fence]
    assert len(queue.bench.model.calls) == LONG == queue.task.usage.model_calls


@pytest.mark.parametrize("end", ["cancel", "erase"])
def test_the_host_of_a_task_that_has_ended_is_free_within_15_s(make: Make, end: str):
    """If a task is cancelled while its lanes make calls, its host on the queue's route is free within 15 s.

    A consumer cannot be notified. A consumer notices a task's end when it checks the task, and then aborts the lanes.
    """
    queue = make()
    queue.bench.model.seconds = lambda number: 100.0

    async def stop() -> None:
        if end == "cancel":
            await queue.bench.store.cancel(TASK, 1_000_000)
        else:
            await queue.bench.store.erase(TASK)

    queue.consume(stop, after=6.0)
    assert queue.bench.loop.time() - 6.0 < 15
    assert queue.coordinators.aborted == [1]
    assert [fence for fence, _ in queue.coordinators.closed] == [1]
    assert queue.delivery.acked_at is not None
    if end == "cancel":
        usage = queue.task.usage
        assert usage.model_calls == usage.in_doubt == len(queue.bench.model.calls) == 30


def test_a_queue_goes_on_where_objects_cannot_be_reached(make: Make):
    """If lanes cannot be reached, the consumer makes all calls itself, six at a time.

    If lanes cannot be reached, no call is sent in vain, is in doubt, or costs an attempt.
    """
    queue = make()
    queue.coordinators.unreachable = RuntimeError("NoGilError")
    queue.consume()
    task = queue.task
    assert (task.status, queue.coordinators.groups) == (Status.COMPLETED, [])
    assert len(queue.bench.model.calls) == LONG == task.usage.model_calls
    assert task.usage.in_doubt == 0
    assert (queue.coordinators.signs, queue.coordinators.most) == (1, ALONE)
    assert queue.heard("lanes_unreachable")


def test_calls_that_a_consumer_makes_itself_are_ended_too(make: Make):
    """A consumer that makes the calls itself is free as soon after a cancellation as one without lanes."""
    queue = make()
    queue.coordinators.unreachable = RuntimeError("NoGilError")
    queue.bench.model.seconds = lambda number: 100.0
    queue.consume(lambda: queue.bench.store.cancel(TASK, 1_000_000), after=6.0)
    assert queue.bench.loop.time() - 6.0 < 15
    assert queue.coordinators.aborted == []
    usage = queue.task.usage
    assert usage.model_calls == usage.in_doubt == len(queue.bench.model.calls) == ALONE
    assert CallAborted.__name__ not in "".join(queue.lines)
