"""How the worker of a task learns of the task's end."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from simulator.engine.loop import Loop
from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.calls.wire import Wire
from src.kernel.domain import limits
from src.kernel.domain.errors import CallAborted, CallNotStarted
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.meter import Meter
from src.kernel.domain.task import Route, Status
from src.kernel.run.log import Log
from src.kernel.store.claims import Claim
from src.kernel.store.ending import Stopped
from src.objects.batch_coordinator import Coordinator
from src.objects.lane import Lane
from src.objects.sender import ObjectTeller
from tests.support.worker_bench import WorkerBench
from tests.unit.objects.test_coordinator import NOW_MS, SECONDS, Storage

TASK = TaskKey("task")
NOBODY = Log(lambda _line: None)


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench()
    made.model.seconds = lambda number: 10.0
    made.insert(3)
    yield made
    made.close()


def claim(bench: WorkerBench, route: Route, name: str = "") -> Claim:
    made = bench.do(bench.store.claim(TASK, holder=name or route, host="", route=route, lease_ms=180_000))
    assert isinstance(made, Claim)
    return made


@pytest.mark.parametrize(("route", "fence"), [(Route.QUEUE, None), (Route.DURABLE_OBJECT, 1), (Route.DIRECT, None)])
@pytest.mark.parametrize("end", ["cancel", "erase"])
def test_only_a_task_on_an_object_has_one_to_tell(bench: WorkerBench, route: Route, fence: int | None, end: str):
    claim(bench, route)
    store = bench.store
    stopped: Stopped = bench.do(store.cancel(TASK, 1_000) if end == "cancel" else store.erase(TASK))
    assert (stopped.changed, stopped.object_fence) == (True, fence)


def test_a_cancellation_that_is_repeated_tells_again(bench: WorkerBench):
    claim(bench, Route.DURABLE_OBJECT)
    stopped = [bench.do(bench.store.cancel(TASK, 1_000)) for _ in range(2)]
    assert [(each.changed, each.object_fence) for each in stopped] == [(True, 1), (False, 1)]


def test_a_cancellation_that_came_too_late_names_no_fence(bench: WorkerBench):
    """If a task was put back and claimed before a cancellation lands, no object is notified and the claim goes on."""
    claim(bench, Route.DURABLE_OBJECT)
    batch, calls = bench.database.batch, 0

    async def put_back_in_between(statements: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:  # the first batch reads the generation
            bench.database.batch = batch  # type: ignore[method-assign]
            await bench.store.cancel(TASK, 1_000)
            assert await bench.store.retry(TASK, 180_000) is not None
            await bench.store.claim(TASK, holder="next", host="", route=Route.DURABLE_OBJECT, lease_ms=180_000)
        return await batch(statements)

    bench.database.batch = put_back_in_between  # type: ignore[method-assign]
    stopped = bench.do(bench.store.cancel(TASK, 1_000))
    assert (stopped.changed, stopped.object_fence) == (False, None)
    assert bench.task().status is Status.PROCESSING


class Objects:
    """Objects that record their notices, and then do `act`, which may fail or take its time."""

    def __init__(self, act: Callable[[], Any] = lambda: asyncio.sleep(0)) -> None:
        self.told: list[tuple[str, int]] = []
        self._act = act
        self._name = ""

    def getByName(self, name: str) -> Any:  # noqa: N802 - the platform's name
        self._name = name
        return self

    async def ended(self, fence: int) -> None:
        self.told.append((self._name, fence))
        await self._act()


async def refuse() -> None:
    """Raise the error of an older deployment's object, which does not know the call."""
    raise AttributeError("ended")


@pytest.mark.parametrize(
    ("act", "seconds"), [(lambda: asyncio.sleep(0), 0), (refuse, 0), (asyncio.Event().wait, limits.TELL_SECONDS)]
)
def test_telling_never_fails_and_is_soon_over(act: Callable[[], Any], seconds: float):
    loop, objects, meter = Loop(), Objects(act), Meter()  # type: ignore[abstract]
    loop.run_until_complete(ObjectTeller(objects, meter, NOBODY).tell(TASK, 7))
    assert (objects.told, loop.time(), meter.subrequests) == ([("task", 7)], seconds, 1)
    loop.close()


def calls(count: int) -> list[Wire]:
    return [wire.write_call(ModelCall("", str(number), "")) for number in range(count)]


def abort_after(bench: WorkerBench, seconds: float, fence: int, *, concurrency: int = 6) -> list[type]:
    of = claim(bench, Route.DURABLE_OBJECT)
    worker = bench.worker()
    worker = replace(worker, settings=replace(worker.settings, concurrency=concurrency))

    async def play() -> list[Wire]:
        lane = Lane()
        made = asyncio.ensure_future(lane.infer(worker, TASK, of.fence, calls(3)))
        await asyncio.sleep(seconds)
        lane.abort(fence)
        return await made

    return [type(wire.read_outcome(outcome)) for outcome in bench.do(play())]


def test_a_lane_ends_its_calls_and_keeps_what_came(bench: WorkerBench):
    bench.model.seconds = lambda number: 1.0 if number == 2 else 10.0
    assert abort_after(bench, 3.0, 1) == [CallAborted, ModelReply, CallAborted]
    assert bench.loop.time() == 3.0


def test_a_call_that_had_no_turn_was_not_made(bench: WorkerBench):
    assert abort_after(bench, 3.0, 1, concurrency=1) == [CallAborted, CallNotStarted, CallNotStarted]
    assert len(bench.model.calls) == 1


def test_a_lane_goes_on_for_a_later_claim(bench: WorkerBench):
    assert abort_after(bench, 3.0, 0) == [ModelReply] * 3
    assert bench.loop.time() == 10.0


def test_a_lane_that_is_told_first_starts_nothing(bench: WorkerBench):
    of = claim(bench, Route.DURABLE_OBJECT)

    async def play() -> list[Wire]:
        lane = Lane()
        lane.abort(of.fence)
        return await lane.infer(bench.worker(), TASK, of.fence, calls(3))

    outcomes = [type(wire.read_outcome(outcome)) for outcome in bench.do(play())]
    assert (outcomes, bench.model.calls) == ([CallNotStarted] * 3, [])


@pytest.mark.parametrize(("deaf", "seconds"), [(False, 0.0), (True, limits.DROP_SECONDS_MOST)])
def test_a_lane_that_is_ended_ends_its_calls(bench: WorkerBench, *, deaf: bool, seconds: float):
    of, infer, cancelled = claim(bench, Route.DURABLE_OBJECT), bench.model.infer, list[str]()

    async def noting(call: ModelCall) -> ModelReply:
        try:
            return await infer(call)
        except asyncio.CancelledError:
            cancelled.append(call.user)
            if deaf:
                return await infer(call)
            raise

    async def play() -> None:
        bench.model.infer = noting  # type: ignore[method-assign]
        made = asyncio.ensure_future(Lane().infer(bench.worker(), TASK, of.fence, calls(3)))
        await asyncio.sleep(3)
        made.cancel()
        await asyncio.wait([made])
        assert made.cancelled()

    bench.do(play())
    assert (cancelled, bench.loop.time()) == (["0", "1", "2"], 3 + seconds)


class Lanes:
    """Lanes that never answer, and that record each notice to abort. `broken` lanes cannot be reached."""

    def __init__(self, *broken: str) -> None:
        self.told: list[tuple[str, int]] = []
        self._broken = broken

    def getByName(self, name: str) -> Any:  # noqa: N802 - the platform's name
        lanes = self

        class One:
            async def infer(self, *_args: Any) -> Any:
                await asyncio.Event().wait()

            async def abort(self, fence: int) -> None:
                if name in lanes._broken:
                    raise ConnectionError
                lanes.told.append((name, fence))

        return One()


def test_a_coordinator_tells_each_lane_that_is_out():
    lanes = Lanes("task/lane-1")

    async def play() -> None:
        def made() -> Coordinator:
            return Coordinator(Storage(connection), lanes, lambda: NOW_MS, NOBODY)

        groups = [asyncio.ensure_future(made().infer(TASK, 4, 3, [{}], SECONDS)) for _ in range(3)]
        await asyncio.sleep(0)
        await made().abort(TASK, 4)
        for group in groups:
            group.cancel()

    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.row_factory = sqlite3.Row
        asyncio.run(play())
    assert lanes.told == [("task/lane-2", 4), ("task/lane-3", 4)]


def test_without_objects_nobody_is_told():
    meter = Meter()
    asyncio.run(ObjectTeller(None, meter, NOBODY).tell(TASK, 7))
    assert meter.subrequests == 0


def test_a_task_that_nobody_has_begun_has_no_object(bench: WorkerBench):
    assert bench.do(bench.store.cancel(TASK, 1_000)).object_fence is None
