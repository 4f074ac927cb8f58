"""A sweep that a request asks for, and a sweep that has little left of its invocation's allowance."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Reduce, Route, Status
from src.kernel.run.context import RunOutcome
from src.kernel.store.seen import TriggerHeartbeats
from src.kernel.work.dispatch import Dispatcher
from src.kernel.work.sweep.on_request import SweepOnRequest
from src.kernel.work.sweep.resuming import Resuming
from src.kernel.work.sweep.sweep import SweepCounts
from src.kernel.work.worker import Host, Worker
from tests.support.invocations import Road, new_sweep
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import WorkerBench

LEASE_SECONDS = 180
LONG_SECONDS = 40 * LEASE_SECONDS


def insert(bench: WorkerBench, *names: str) -> None:
    for name in names:
        new = new_task(name, 2, Reduce.CONCAT, START_MS)
        bench.do(bench.store.insert(new, bench.settings.lease_ms))


def in_vain(bench: WorkerBench, *names: str) -> None:
    insert(bench, *names)
    for _ in range(limits.SENDS_IN_VAIN):
        bench.do(asyncio.sleep(LONG_SECONDS))
        bench.do(new_sweep(bench.worker(), [Road()]).run())
    bench.do(asyncio.sleep(LONG_SECONDS))


def status(bench: WorkerBench, name: str) -> Status:
    task = bench.do(bench.store.task(TaskKey(name)))
    assert task is not None
    return task.status


def test_a_sweep_that_was_asked_for_works_on_what_was_sent_off_in_vain(bench: WorkerBench):
    in_vain(bench, "a", "b")
    insert(bench, "c")
    bench.do(asyncio.sleep(LEASE_SECONDS))
    route = Road()
    swept = bench.do(new_sweep(bench.worker(), [route], seconds=25.0, stands_in=True).run())
    assert swept == SweepCounts(dispatched=1, worked=2)
    assert route.sent == ["c"]
    assert [status(bench, name) for name in "abc"] == [Status.COMPLETED, Status.COMPLETED, Status.PENDING]
    assert len(bench.model.calls) == 4


def test_crons_sweep_goes_on_sending(bench: WorkerBench):
    """A sweep by cron only sends tasks off, since it cannot tell a dead queue from a backlog and no client waits."""
    in_vain(bench, "a")
    route = Road()
    assert bench.do(new_sweep(bench.worker(), [route]).run()) == SweepCounts(dispatched=1)
    assert (route.sent, bench.model.calls) == (["a"], [])


def test_what_a_sweep_does_not_get_to_stays_due(bench: WorkerBench):
    """A requested sweep may start calls for a limited number of seconds."""
    in_vain(bench, "a", "b")
    bench.model.seconds = lambda number: 30.0
    sweeps = [new_sweep(bench.worker(), [Road()], seconds=25.0, stands_in=True) for _ in range(2)]
    assert bench.do(sweeps[0].run()) == SweepCounts(worked=1)
    assert (status(bench, "a"), status(bench, "b")) == (Status.COMPLETED, Status.PENDING)
    assert bench.do(sweeps[1].run()) == SweepCounts(worked=1)
    assert status(bench, "b") is Status.COMPLETED


def test_one_tasks_trouble_is_not_the_others(bench: WorkerBench):
    in_vain(bench, "a", "b")
    bench.database.fail("D1_ERROR: string or blob too big: SQLITE_TOOBIG", passing=1)
    assert bench.do(new_sweep(bench.worker(), [Road()], seconds=25.0, stands_in=True).run()) == SweepCounts(worked=2)
    assert [status(bench, name) for name in "ab"] == [Status.PENDING, Status.COMPLETED]
    assert len(bench.events("run_failed")) == 1


def test_without_time_for_calls_a_sweep_only_sends(bench: WorkerBench):
    insert(bench, "a", "b", "c")
    bench.do(asyncio.sleep(LEASE_SECONDS))
    assert bench.do(new_sweep(bench.worker(), [Road(takes=0)], seconds=0.0).run()) == SweepCounts()
    assert bench.model.calls == []
    assert len(bench.do(bench.store.due(9)).idle) == 3
    route = Road()
    assert bench.do(new_sweep(bench.worker(), [route], seconds=0.0).run()) == SweepCounts(dispatched=3)
    assert sorted(route.sent) == ["a", "b", "c"]


@pytest.mark.parametrize("seconds", [0.0, 25.0])
def test_what_a_request_has_no_time_to_send_is_given_back(bench: WorkerBench, seconds: float):
    insert(bench, *(f"{number:03}" for number in range(100)))
    bench.do(asyncio.sleep(LEASE_SECONDS))
    route = Road(seconds=2.0)
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
        self.route = Road()
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


def invocation(bench: WorkerBench, *, calls_left: int, statements_left: int) -> Worker:
    worker = bench.worker()
    worker.meter.spend(bench.settings.subrequests - calls_left)
    worker.meter.statements = bench.settings.statements - statements_left
    return worker


def submit(bench: WorkerBench, tasks: int) -> set[TaskKey]:
    keys = [TaskKey(f"local:{number:03}") for number in range(tasks)]
    for key in keys:
        bench.do(bench.store.insert(new_task(key, 1, Reduce.CONCAT, START_MS), 0))
    return set(keys)


def test_a_run_looks_for_no_page_that_it_has_no_statements_for(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch):
    """Even with hundreds of sends left, too few statements end its reads."""
    monkeypatch.setattr(limits, "SWEEP_PAGE_TASKS", 5)
    keys, road = submit(bench, 100), Road()
    worker = invocation(bench, calls_left=800, statements_left=limits.RUN_LEAST)
    bench.do(new_sweep(worker, [road]).run())
    assert worker.meter.statements <= bench.settings.statements
    assert 5 < len(road.sent) < 50
    bench.do(new_sweep(bench.worker(), [road]).run())
    assert (len(road.sent), set(road.sent)) == (100, keys)


@pytest.mark.parametrize(
    ("calls_left", "statements_left", "folds"), [(2, 16, True), (1, 16, False), (2, 15, False), (9, 99, True)]
)
def test_a_run_adds_up_what_has_ended_with_what_is_left(
    bench: WorkerBench, calls_left: int, statements_left: int, folds: bool
):
    bench.insert(1)
    bench.run()
    bench.do(asyncio.sleep(1))
    worker = invocation(bench, calls_left=calls_left, statements_left=statements_left)
    bench.do(new_sweep(worker, []).run())
    assert bool(bench.database.rows("SELECT * FROM folds")) is folds
    assert worker.meter.subrequests <= bench.settings.subrequests
    assert worker.meter.statements <= bench.settings.statements


def test_a_run_works_on_no_task_without_the_allowance_for_it(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch):
    bench.settings = replace(bench.settings, objects_at_work_most=1)
    had_room, run = list[bool](), Worker.run

    async def noting(worker: Worker, task_key: TaskKey, host: Host) -> RunOutcome:
        had_room.append(worker.can_afford_run)
        return await run(worker, task_key, host)

    monkeypatch.setattr(Worker, "run", noting)
    for statements_left in range(limits.RUN_LEAST, 2 * limits.RUN_LEAST):
        submit(bench, 1)
        bench.database.rows("UPDATE tasks SET dispatches = ?", limits.SENDS_IN_VAIN)
        worker = invocation(bench, calls_left=800, statements_left=statements_left)
        bench.do(new_sweep(worker, [], stands_in=True).run())
        assert all(had_room)
        bench.database.rows("DELETE FROM tasks")
    assert 0 < len(had_room) < limits.RUN_LEAST


@pytest.mark.parametrize(("seconds", "sends"), [(0.9, 2), (1.0, 2), (1.1, 3)])
def test_no_send_starts_when_the_time_for_sends_is_over(bench: WorkerBench, seconds: float, sends: int):
    keys, road = submit(bench, 5), Road(seconds=0.5)
    bench.do(new_sweep(bench.worker(), [road], seconds=seconds).run())
    assert road.sends == len(road.sent) == sends
    assert set(bench.do(bench.store.due(9)).idle) == keys - set(road.sent)


def test_a_sweep_writes_nothing_for_the_tasks_that_it_has_no_time_for(bench: WorkerBench):
    """Once the time of a sweep is over, no further task is taken and put back, because each row written is billed."""
    submit(bench, 5)
    before, road = bench.database.rows("SELECT * FROM tasks ORDER BY id"), Road(seconds=1.0)
    bench.do(asyncio.sleep(1))
    bench.do(new_sweep(bench.worker(), [road], seconds=1.0).run())
    assert road.sends == len(road.sent) == 1
    left = bench.database.rows("SELECT * FROM tasks WHERE id <> ? ORDER BY id", road.sent[0])
    assert left == [row for row in before if row["id"] != road.sent[0]]
    assert bench.events("made_due") == []


def test_one_refused_send_makes_no_later_part_of_a_sweep_smaller(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "SWEEP_PAGE_TASKS", 20)
    keys, objects, queue = submit(bench, 30), Road(Route.DURABLE_OBJECT, refused=20), Road()
    worker = invocation(bench, calls_left=45, statements_left=99)
    before = worker.meter.subrequests
    bench.do(new_sweep(worker, [objects, queue]).run())
    assert {*objects.sent, *queue.sent} == keys
    assert len(queue.sent) == 1
    # Two pages are read, the first page is sent off in two parts, and two more calls add up the ended tasks.
    assert worker.meter.subrequests - before == 2 + 3 + 31 + 2
