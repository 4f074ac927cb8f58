"""A sweep that has little left of its invocation's allowance."""

import asyncio
from dataclasses import replace

import pytest

from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Reduce, Route
from src.kernel.run.context import RunOutcome
from src.kernel.work.worker import Host, Worker
from tests.support.invocations import new_sweep
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import WorkerBench


class Road:
    """A route that takes each task, but not at the send with the number `refused`; a send takes the given seconds."""

    def __init__(self, route: Route = Route.QUEUE, *, seconds: float = 0.0, refused: int | None = None) -> None:
        self.route = route
        self.sent: list[TaskKey] = []
        self._seconds = seconds
        self._refused = refused
        self._sends = 0

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        self._sends += 1
        if self._sends == self._refused:
            raise RuntimeError("the route is away for a moment")
        self.sent.append(task_key)
        await asyncio.sleep(self._seconds)


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
    """A sweep adds up ended tasks only if it has enough calls and statements left for the read and the write."""
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
    assert len(road.sent) == sends
    assert set(bench.do(bench.store.due(9)).idle) == keys - set(road.sent)


def test_a_sweep_writes_nothing_for_the_tasks_that_it_has_no_time_for(bench: WorkerBench):
    """Once the time of a sweep is over, no further task is taken and put back, because each row written is billed."""
    submit(bench, 5)
    before, road = bench.database.rows("SELECT * FROM tasks ORDER BY id"), Road(seconds=1.0)
    bench.do(asyncio.sleep(1))
    bench.do(new_sweep(bench.worker(), [road], seconds=1.0).run())
    assert len(road.sent) == 1
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
