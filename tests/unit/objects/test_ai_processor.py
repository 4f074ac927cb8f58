"""A task's object and its lanes, in virtual time: how many calls are in flight, and what follows a slice."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall, ModelReply, Provider
from src.kernel.calls.wire import Wire
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelRateLimited, ModelRefused
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Status
from src.kernel.run.log import Log
from src.kernel.work.worker import Worker
from src.objects.ai_processor import Processor
from src.objects.lane import Lane
from tests.support.steps import noted
from tests.support.store_bench import START_MS
from tests.support.worker_bench import WorkerBench

LONG = limits.LANES_MOST * limits.LANE_CHUNKS


class Storage:
    """An object's storage, in which an alarm is stored but does not fire by itself."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.alarm_ms: int | None = None
        self.after_get: Callable[[], Any] | None = None

    async def get(self, key: str) -> object:
        value = self.values.get(key)
        if self.after_get is not None:
            await self.after_get()
        return value

    async def put(self, key: str, value: object) -> None:
        self.values[key] = value

    async def setAlarm(self, at_ms: int) -> None:  # noqa: N802 - the platform's name
        self.alarm_ms = at_ms

    async def deleteAll(self) -> None:  # noqa: N802 - the platform's name
        self.values.clear()
        self.alarm_ms = None


class InFlight:
    """Counts the calls in flight of each invocation, and of all together under "all". Keeps the highest counts."""

    def __init__(self) -> None:
        self.most: Counter[str] = Counter()
        self._now: Counter[str] = Counter()
        self._invocations = 0

    @contextmanager
    def count(self, key: str) -> Iterator[None]:
        self._now[key] += 1
        self.most[key] = max(self.most[key], self._now[key])
        yield
        self._now[key] -= 1

    def of_lane(self, number: int, worker: Worker) -> Worker:
        return replace(worker, provider=Counted(worker.provider, self, f"lane {number}"))

    def of_one_more(self, worker: Worker) -> Worker:
        self._invocations += 1
        return replace(worker, provider=Counted(worker.provider, self, f"invocation {self._invocations}"))

    @property
    def most_of_one(self) -> int:
        return max(most for key, most in self.most.items() if key != "all")


class Counted:
    def __init__(self, provider: Provider, in_flight: InFlight, key: str) -> None:
        self.name = provider.name
        self.default_model = provider.default_model
        self.probe = provider.probe
        self._infer = provider.infer
        self._in_flight = in_flight
        self._key = key

    async def infer(self, call: ModelCall) -> ModelReply:
        with self._in_flight.count(self._key), self._in_flight.count("all"):
            return await self._infer(call)


class ObjectBench:
    """A task with its object, and with a coordinator that runs each group of calls in an invocation of its own."""

    def __init__(self, bench: WorkerBench, chunks: int, lane_concurrency: int | None) -> None:
        bench.insert(chunks)
        self.bench = bench
        self.storage = Storage()
        self.in_flight = InFlight()
        self.groups: list[int] = []
        self.lanes: list[Lane] = []
        self.at_close: Callable[[], Any] | None = None
        self.closed = 0
        self._lane_concurrency = lane_concurrency or bench.settings.concurrency
        self.broken = False
        self.evict()

    def getByName(self, name: str) -> "ObjectBench":  # noqa: N802 - the platform's name
        return self

    async def reach(self) -> None:
        """Answer a ping."""

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        self.groups.append(len(calls))
        number = wire.lane_of(calls)
        if number is None:
            self.lanes.append(Lane())
            number = len(self.lanes)
        worker = self.in_flight.of_lane(number, self.bench.worker())
        settings = replace(worker.settings, concurrency=self._lane_concurrency)
        outcomes = await self.lanes[number - 1].infer(replace(worker, settings=settings), task_key, fence, calls)
        return [wire.from_lane(outcome, number) for outcome in outcomes]

    async def abort(self, task_key: TaskKey, fence: int) -> None:
        for lane in self.lanes:
            lane.abort(fence)

    async def close(self, fence: int) -> None:
        self.closed += 1
        if self.at_close is not None:
            await self.at_close()

    def _worker(self) -> Worker:
        if self.broken:
            raise ValueError("a variable")
        return self.in_flight.of_one_more(self.bench.worker())

    def _now_ms(self) -> int:
        return START_MS + round(self.bench.loop.time() * 1000)

    def evict(self) -> None:
        self.object = Processor(self.storage, self._worker, self, self._now_ms, Log(lambda line: None))

    async def send(self) -> None:
        await self.object.start(TaskKey("task"), 0)

    def start(self) -> None:
        self.bench.do(self.send())

    def alarm(self) -> None:
        assert self.storage.alarm_ms is not None
        self.bench.do(self.object.alarm())

    @property
    def due_seconds(self) -> float | None:
        """Return in how many seconds the alarm is due, None without one, or without a task."""
        alarm_ms = self.storage.alarm_ms
        return None if alarm_ms is None or "task" not in self.storage.values else (alarm_ms - self._now_ms()) / 1000


@pytest.fixture
def make():
    made: list[WorkerBench] = []

    def build(chunks: int = LONG, lane_concurrency: int | None = None, **settings: Any) -> ObjectBench:
        made.append(WorkerBench(**settings))
        return ObjectBench(made[-1], chunks, lane_concurrency)

    yield build
    for bench in made:
        bench.close()


@pytest.mark.parametrize("concurrency", [2, 4, 6])
def test_each_lane_has_as_many_calls_in_flight_as_the_variable_says(make, concurrency: int):
    task = make(concurrency=concurrency)
    task.start()
    task.alarm()
    assert task.bench.task().status is Status.COMPLETED
    assert len(task.bench.model.calls) == LONG == task.bench.task().usage.model_calls
    assert task.in_flight.most_of_one == concurrency == max(task.groups)
    assert task.in_flight.most["all"] == limits.LANES_MOST * concurrency


@pytest.mark.parametrize("lane_concurrency", [1, 2])
def test_a_lane_keeps_to_its_own_setting(make, lane_concurrency: int):
    task = make(lane_concurrency=lane_concurrency, concurrency=6)
    task.start()
    while task.storage.alarm_ms is not None:
        task.alarm()
    assert task.bench.task().status is Status.COMPLETED
    assert max(task.groups) == 6
    assert task.in_flight.most_of_one == lane_concurrency
    usage = task.bench.task().usage
    assert (len(task.bench.model.calls), usage.model_calls, usage.in_doubt) == (LONG, LONG, 0)
    assert task.bench.events("call_not_started")


@pytest.mark.parametrize("ends", ["well", "in a mistake"])
def test_the_alarm_is_set_before_the_work(make, ends: str):
    task = make(chunks=1)
    task.start()
    seen: list[float | None] = []
    batch = task.bench.database.batch

    async def watched(statements: Any) -> Any:
        seen.append(task.due_seconds)
        if ends != "well":
            raise KeyError("mistake")
        return await batch(statements)

    task.bench.database.batch = watched
    task.storage.alarm_ms = None
    task.bench.do(task.object.alarm())
    assert len(seen) >= 2 or ends != "well"
    assert set(seen[:1]) == {limits.OBJECT_RETURN_SECONDS}
    assert None not in seen
    assert (task.due_seconds is None) == (ends == "well")


def test_a_retry_that_comes_while_lanes_are_closed_is_kept(make):
    task = make(chunks=limits.LANES_FROM_CHUNKS)
    task.bench.model.act = lambda call, number: ModelRefused("401") if number <= 12 else None

    async def retry() -> None:
        assert await task.bench.store.retry("task", task.bench.settings.lease_ms) is not None
        await task.send()
        task.at_close = None

    task.at_close = retry
    task.start()
    task.alarm()
    assert (task.closed, task.due_seconds) == (1, 0)
    assert task.bench.task().status is Status.PENDING
    task.alarm()
    assert task.bench.task().status is Status.COMPLETED
    assert (task.closed, task.due_seconds) == (2, None)


def test_a_start_that_comes_upon_an_empty_object_is_kept(make):
    task = make(chunks=1)
    task.storage.alarm_ms = 0

    async def send() -> None:
        task.storage.after_get = None
        await task.send()

    task.storage.after_get = send
    task.alarm()
    assert task.due_seconds == 0
    task.alarm()
    assert task.bench.task().status is Status.COMPLETED


def test_a_start_that_comes_during_the_last_failure_is_kept(make):
    task = make(chunks=1)
    task.broken = True
    task.start()
    for _ in range(limits.OBJECT_FAILURES_MOST):
        task.alarm()
        assert task.due_seconds
    looks = 0

    async def send() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:  # the first `get` reads the task, the second `get` the failures
            await task.send()

    task.storage.after_get = send
    task.alarm()
    assert task.due_seconds
    task.storage.after_get = None
    task.alarm()
    assert (task.due_seconds, task.storage.values) == (None, {})


def test_a_start_does_not_wait_for_what_the_slice_before_it_knew(make):
    """A start that comes while a slice ends overrides the delay that the slice asked for."""
    task = make(chunks=1)
    task.bench.model.act = lambda call, number: ModelRateLimited("429", 600) if number == 1 else None
    release = task.bench.database.batch
    batches = 0

    async def batch(statements: Any) -> Any:
        nonlocal batches
        result = await release(statements)
        batches += 1
        if batches == 2:  # the first batch is the slice's claim, the second its release
            await task.bench.store.cancel("task", 1)
            await task.bench.store.retry("task", task.bench.settings.lease_ms)
            await task.send()
        return result

    task.bench.database.batch = batch
    task.start()
    task.alarm()
    assert task.due_seconds == 0
    task.alarm()
    assert task.bench.task().status is Status.COMPLETED


def kill(task: ObjectBench) -> None:
    """Begin a slice, and half a second later kill it and drop the object's memory."""
    run = task.bench.loop.create_task(task.object.alarm())
    task.bench.do(asyncio.sleep(0.5))
    run.cancel()  # no await of the slice runs after this, so it counts as killed
    task.evict()


def test_a_killed_slice_is_taken_over_at_once(make):
    task = make(chunks=6)
    task.start()
    kill(task)
    assert task.due_seconds == pytest.approx(limits.OBJECT_RETURN_SECONDS, abs=1)
    task.bench.do(asyncio.sleep(task.due_seconds))
    task.alarm()
    assert task.bench.task().status is Status.COMPLETED
    assert task.bench.loop.time() < task.bench.settings.lease_seconds / 2
    assert task.bench.task().usage.in_doubt == 6


def test_an_alarm_that_fires_during_a_slice_takes_nothing_over(make):
    task = make(chunks=6)
    task.start()
    run = task.bench.loop.create_task(task.object.alarm())
    task.bench.do(asyncio.sleep(0.5))
    task.alarm()
    task.bench.do(run)
    assert (task.bench.task().status, task.bench.task().usage.in_doubt) == (Status.COMPLETED, 0)


@pytest.mark.parametrize(("timeout_seconds", "seconds"), [(120.0, 300.0), (600.0, 272.0)])
def test_a_slice_is_as_long_as_the_platform_lets_it_be(
    make, monkeypatch: pytest.MonkeyPatch, timeout_seconds: float, seconds: float
):
    made = make(1, timeout_seconds=timeout_seconds, lease_seconds=700.0)
    runs = noted(monkeypatch, Worker, "run")
    made.start()
    made.alarm()
    assert [host.seconds for *_, host in runs] == [seconds]


def test_a_long_task_that_kills_its_slices_loses_its_lanes_and_rests(make):
    task = make()
    task.start()
    calls: list[int] = []
    while task.due_seconds is not None and len(calls) < 100:
        before = len(task.bench.model.calls)
        kill(task)
        calls.append(len(task.bench.model.calls) - before)
        if task.due_seconds is not None:
            task.bench.do(asyncio.sleep(task.due_seconds))
    assert [number for number in calls if number] == [30, 3, 1]
    # Of the task's six slices three make calls; two slices claimed too early, and one ended the task.
    assert len(calls) == 6
    failed = task.bench.task()
    assert (failed.status, failed.failure.code) == (Status.FAILED, "worker_crashed")
    assert limits.STALL_SECONDS_LEAST <= task.bench.loop.time() < limits.STALL_SECONDS_LEAST + 30


def hold(task: ObjectBench, meanwhile: Callable[[], Any], after: float = 3.0) -> float:
    """Fire the alarm of a slow task, call `meanwhile`, and return how long the slice then took."""
    task.bench.model.seconds = lambda number: 100.0
    task.start()

    async def play() -> None:
        slice_ = asyncio.ensure_future(task.object.alarm())
        await asyncio.sleep(after)
        await meanwhile()
        await slice_

    task.bench.do(play())
    return task.bench.loop.time() - after


@pytest.mark.parametrize("chunks", [2, LONG])
def test_an_object_that_is_told_lets_go_at_once(make, chunks: int):
    task = make(chunks=chunks)

    async def end() -> None:
        await task.bench.store.cancel("task", 1_000_000)
        await task.object.ended(1)

    assert hold(task, end) == 0
    usage = task.bench.task().usage
    assert usage.in_doubt == usage.model_calls == len(task.bench.model.calls)
    assert (task.due_seconds, task.storage.values) == (None, {})


def test_an_object_whose_task_is_put_back_goes_on_with_it_at_once(make):
    """In this test the task was cancelled and put back, and the notice of the cancellation was lost."""
    task = make(chunks=2)

    async def put_back() -> None:
        await task.bench.store.cancel("task", 1_000_000)
        await task.bench.store.retry("task", task.bench.settings.lease_ms)
        await task.send()

    assert hold(task, put_back) == 0
    assert task.due_seconds == 0
    task.bench.model.seconds = lambda number: 1.0
    task.alarm()
    assert task.bench.task().status is Status.COMPLETED
    assert task.bench.task().usage.in_doubt == 2


def test_what_an_object_was_told_of_an_earlier_claim_ends_no_later_one(make):
    task = make(chunks=2)
    task.bench.do(task.object.ended(1))
    assert hold(task, lambda: task.object.ended(0)) == 97.0
    assert task.bench.task().status is Status.COMPLETED
