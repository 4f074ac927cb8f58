"""Sweeps that requests start: which tasks such a sweep runs itself, which ones it leaves, and when none is started."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Reduce, Route, Status
from src.kernel.store.seen import TriggerHeartbeats
from src.kernel.work.dispatch import Dispatcher
from src.kernel.work.sweep.on_request import SweepOnRequest
from src.kernel.work.sweep.resuming import Resuming
from src.kernel.work.sweep.sweep import SweepCounts
from src.kernel.work.worker import Worker
from tests.support.invocations import new_sweep
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import WorkerBench

LEASE_SECONDS = 180
LONG_SECONDS = 40 * LEASE_SECONDS


class Takes:
    """A route that accepts each task, or refuses it, and never delivers one."""

    route = Route.QUEUE

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.sent: list[TaskKey] = []

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        if self.refuses:
            raise RuntimeError("Queue sends are disabled")
        self.sent.append(task_key)


def insert(bench: WorkerBench, *names: str) -> None:
    for name in names:
        new = new_task(name, 2, Reduce.CONCAT, START_MS)
        bench.do(bench.store.insert(new, bench.settings.lease_ms))


def in_vain(bench: WorkerBench, *names: str) -> None:
    insert(bench, *names)
    for _ in range(limits.SENDS_IN_VAIN):
        bench.do(asyncio.sleep(LONG_SECONDS))
        bench.do(new_sweep(bench.worker(), [Takes()]).run())
    bench.do(asyncio.sleep(LONG_SECONDS))


def status(bench: WorkerBench, name: str) -> Status:
    task = bench.do(bench.store.task(TaskKey(name)))
    assert task is not None
    return task.status


def test_a_sweep_that_was_asked_for_works_on_what_was_sent_off_in_vain(bench: WorkerBench):
    in_vain(bench, "a", "b")
    insert(bench, "c")
    bench.do(asyncio.sleep(LEASE_SECONDS))
    route = Takes()
    swept = bench.do(new_sweep(bench.worker(), [route], seconds=25.0, stands_in=True).run())
    assert swept == SweepCounts(dispatched=1, worked=2)
    assert route.sent == ["c"]
    assert [status(bench, name) for name in "abc"] == [Status.COMPLETED, Status.COMPLETED, Status.PENDING]
    assert len(bench.model.calls) == 4


def test_crons_sweep_goes_on_sending(bench: WorkerBench):
    """A sweep by cron only sends tasks off, since it cannot tell a dead queue from a backlog and no client waits."""
    in_vain(bench, "a")
    route = Takes()
    assert bench.do(new_sweep(bench.worker(), [route]).run()) == SweepCounts(dispatched=1)
    assert (route.sent, bench.model.calls) == (["a"], [])


def test_what_a_sweep_does_not_get_to_stays_due(bench: WorkerBench):
    """A requested sweep may start calls for a limited number of seconds."""
    in_vain(bench, "a", "b")
    bench.model.seconds = lambda number: 30.0
    sweeps = [new_sweep(bench.worker(), [Takes()], seconds=25.0, stands_in=True) for _ in range(2)]
    assert bench.do(sweeps[0].run()) == SweepCounts(worked=1)
    assert (status(bench, "a"), status(bench, "b")) == (Status.COMPLETED, Status.PENDING)
    assert bench.do(sweeps[1].run()) == SweepCounts(worked=1)
    assert status(bench, "b") is Status.COMPLETED


def test_one_tasks_trouble_is_not_the_others(bench: WorkerBench):
    in_vain(bench, "a", "b")
    bench.database.fail("D1_ERROR: string or blob too big: SQLITE_TOOBIG", passing=1)
    assert bench.do(new_sweep(bench.worker(), [Takes()], seconds=25.0, stands_in=True).run()) == SweepCounts(worked=2)
    assert [status(bench, name) for name in "ab"] == [Status.PENDING, Status.COMPLETED]
    assert len(bench.events("run_failed")) == 1


def test_without_time_for_calls_a_sweep_only_sends(bench: WorkerBench):
    insert(bench, "a", "b", "c")
    bench.do(asyncio.sleep(LEASE_SECONDS))
    assert bench.do(new_sweep(bench.worker(), [Takes(refuses=True)], seconds=0.0).run()) == SweepCounts()
    assert bench.model.calls == []
    assert len(bench.do(bench.store.due(9)).idle) == 3
    route = Takes()
    assert bench.do(new_sweep(bench.worker(), [route], seconds=0.0).run()) == SweepCounts(dispatched=3)
    assert sorted(route.sent) == ["a", "b", "c"]


@pytest.mark.parametrize("seconds", [0.0, 25.0])
def test_what_a_request_has_no_time_to_send_is_given_back(bench: WorkerBench, seconds: float):
    insert(bench, *(f"{number:03}" for number in range(100)))
    bench.do(asyncio.sleep(LEASE_SECONDS))
    route = Takes()
    took = route.send

    async def slowly(task_key: TaskKey, delay_seconds: float) -> None:
        await asyncio.sleep(2.0)
        await took(task_key, delay_seconds)

    route.send = slowly  # type: ignore[method-assign]
    began = bench.loop.time()
    swept = bench.do(new_sweep(bench.worker(), [route], seconds=seconds).run())
    assert bench.loop.time() - began < (seconds or limits.DIRECT_SLICE_SECONDS) + 3
    counted = [row["id"] for row in bench.database.rows("SELECT id FROM tasks WHERE dispatches > 0")]
    assert sorted(route.sent) == sorted(counted)
    assert swept.dispatched == len(counted) >= 10
    assert len(bench.do(bench.store.due(100)).idle) == 100 - len(counted)


class Requests:
    def __init__(self, bench: WorkerBench, worker: Worker, **changes: Any) -> None:
        self.bench = bench
        self.route = Takes()
        self.behind: list[asyncio.Future[None]] = []
        parts: dict[str, Any] = {
            "store": bench.store,
            "heartbeats": TriggerHeartbeats(),
            "asked": lambda: new_sweep(worker, [self.route], seconds=25.0, stands_in=True),
            "resuming": lambda: Resuming(worker, Dispatcher([self.route], worker.meter, worker.log)),
            "after_answer": lambda: new_sweep(worker, [self.route], seconds=0.0),
            "wait_until": self._wait_until,
            "log": worker.log,
        }
        self.sweeps = SweepOnRequest(**(parts | changes))

    def _wait_until(self, work: Awaitable[None]) -> None:
        self.behind.append(asyncio.ensure_future(work))

    def look(self) -> None:
        async def request() -> None:
            self.sweeps.look()
            if self.behind:
                await asyncio.wait(self.behind)

        self.bench.do(request())


def seen(bench: WorkerBench) -> list[str]:
    return [row["what"] for row in bench.database.rows("SELECT what FROM seen ORDER BY what")]


def test_a_request_that_has_spent_its_allowance_takes_no_turn(bench: WorkerBench):
    worker = bench.worker()
    worker.meter.spend(bench.settings.subrequests - limits.RUN_LEAST + 1)
    Requests(bench, worker).look()
    assert seen(bench) == []
    Requests(bench, bench.worker()).look()
    assert seen(bench) == ["sweep"]


def test_where_no_sweep_could_do_anything_nobody_looks(bench: WorkerBench):
    """If a sweep could neither send nor run a task, requests do not ask the database whether one is needed."""
    batches = bench.database.batches
    requests = Requests(bench, bench.worker(), after_answer=None)
    requests.look()
    assert (bench.database.batches, requests.behind) == (batches, [])


def test_an_asked_sweep_goes_on_when_its_client_leaves(bench: WorkerBench):
    in_vain(bench, "a")
    requests = Requests(bench, bench.worker())

    async def story() -> None:
        asked = asyncio.ensure_future(requests.sweeps.ask())
        await asyncio.sleep(0.5)
        asked.cancel()
        await asyncio.wait(requests.behind)

    bench.do(story())
    assert status(bench, "a") is Status.COMPLETED
