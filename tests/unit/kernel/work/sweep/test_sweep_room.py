"""A sweep on a full database: if its other writes find no space, it still erases tasks, which frees space."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Reduce, Route
from src.kernel.store.sweep import SweepStore
from src.kernel.work.sweep.sweep import SweepCounts
from tests.support.invocations import new_sweep
from tests.support.steps import noted
from tests.support.store_bench import START_MS, new_task
from tests.support.worker_bench import WorkerBench

FULL = "D1_ERROR: Exceeded maximum DB size"
DAY_MS = 86_400_000
NEARLY_FULL, FULL_SIZE = 9_500_000, 10_000_000


class Road:
    """A route that takes tasks, and notes at each send which ended tasks still exist."""

    route = Route.QUEUE

    def __init__(self, bench: WorkerBench) -> None:
        self._bench = bench
        self.seen: list[list[str]] = []

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        self.seen.append(ended(self._bench))


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    """A free deployment with two ended tasks, one past its retention, one of two days ago."""
    made = WorkerBench()
    made.settings = replace(made.settings, plan="free", storage_mb_most=10)
    for name, wake_at in (("expired", START_MS), ("old", START_MS + 10 * DAY_MS)):
        made.do(made.store.insert(new_task(f"local:{name}", 1, Reduce.CONCAT, START_MS), 0))
        made.database.rows(
            "UPDATE tasks SET status = 'completed', completed = 1, started_at = 1, finished_at = ?, wake_at = ?"
            " WHERE id = ?",
            START_MS - 2 * DAY_MS,
            wake_at,
            f"local:{name}",
        )
        counted = "INSERT INTO folds SELECT wake_at - finished_at, finished_at FROM tasks WHERE id = ?"
        made.database.rows(counted, f"local:{name}")
    yield made
    made.close()


def ended(bench: WorkerBench) -> list[str]:
    found = bench.database.rows("SELECT id FROM tasks WHERE finished_at IS NOT NULL ORDER BY id")
    return [row["id"].partition(":")[2] for row in found]


def submit(bench: WorkerBench, tasks: int, chunks: int = 1) -> None:
    for number in range(tasks):
        bench.do(bench.store.insert(new_task(f"local:{number:03}", chunks, Reduce.CONCAT, START_MS), 0))


def fire(bench: WorkerBench, *roads: Road, **terms: Any) -> SweepCounts:
    bench.do(asyncio.sleep(60))
    worker = bench.worker()
    swept: SweepCounts = bench.do(new_sweep(worker, roads, **terms).run())
    assert worker.meter.subrequests <= bench.settings.subrequests
    assert worker.meter.statements <= bench.settings.statements
    return swept


@pytest.mark.parametrize("passing", [0, 1, 2], ids=["places", "look", "dispatch"])
def test_a_run_that_finds_no_room_erases(bench: WorkerBench, passing: int):
    bench.settings = replace(bench.settings, objects_at_work_most=5)
    submit(bench, 3)
    bench.database.cap.reported = NEARLY_FULL
    bench.database.fail(FULL, passing=passing)
    swept = fire(bench, Road(bench))
    assert len(bench.events("sweep_found_no_room")) == 1
    assert (swept.erased, swept.dispatched, ended(bench)) == (2, 0, [])
    assert fire(bench, Road(bench)).dispatched == 3


def test_a_full_database_is_erased_from_before_anybody_is_sent_off(bench: WorkerBench):
    submit(bench, 1)
    bench.database.cap.reported = NEARLY_FULL - 1_000_000
    roomy = Road(bench)
    bench.database.rows("UPDATE tasks SET wake_at = ?", START_MS + DAY_MS)
    bench.database.rows("UPDATE tasks SET wake_at = ? WHERE id IN ('local:expired', 'local:000')", START_MS)
    fire(bench, roomy)
    assert roomy.seen == [["expired", "old"]]
    bench.database.rows("UPDATE tasks SET wake_at = ? WHERE id IN ('local:old', 'local:000')", START_MS)
    bench.database.cap.reported = FULL_SIZE
    tight = Road(bench)
    fire(bench, tight)
    assert tight.seen == [[]]


def test_an_erasure_that_was_made_is_not_made_twice(bench: WorkerBench, monkeypatch: pytest.MonkeyPatch):
    """A sweep does not repeat an erasure if a later write finds no space. It erases early after that."""
    searches, erasures = (noted(monkeypatch, SweepStore, name) for name in ("past_retention", "erase_expired"))
    submit(bench, 1)
    bench.database.cap.reported = FULL_SIZE
    bench.do(bench.worker().store.ready())
    bench.database.fail(FULL, passing=2)
    assert fire(bench, Road(bench)).erased == 2
    assert (len(searches), len(erasures)) == (0, 1)


def test_many_due_tasks_do_not_keep_a_run_from_making_room(bench: WorkerBench):
    submit(bench, 100)
    bench.database.cap.reported = NEARLY_FULL
    swept = fire(bench, Road(bench))
    assert ended(bench) == []
    assert 30 <= swept.dispatched < 40


@pytest.mark.parametrize("stands_in", [False, True])
def test_a_task_that_runs_in_the_sweep_leaves_room_to_be_made(
    bench: WorkerBench, monkeypatch: pytest.MonkeyPatch, *, stands_in: bool
):
    """The erasures come first, and a run needs what they leave: 48 statements suffice here, 45 do not."""
    monkeypatch.setitem(limits.STATEMENTS, "free", 48)
    submit(bench, 1, chunks=40)
    if stands_in:
        bench.database.rows("UPDATE tasks SET dispatches = 9 WHERE finished_at IS NULL")
    bench.database.cap.reported = NEARLY_FULL
    left: list[list[str]] = []

    def act(_call: ModelCall, _number: int) -> None:
        left.append(ended(bench))

    bench.model.act = act
    roads = [Road(bench)] if stands_in else []
    assert fire(bench, *roads, stands_in=stands_in).erased == 2
    assert left
    assert left[0] in ([], ["expired"])
    assert ended(bench) == []
