"""The sweep: who is woken, when, and what is erased."""

import pytest

from src.core import limits
from src.core.states import Status
from src.store.claims import Release
from tests.support.store import FAILURE, LEASE_MS, RETENTION_MS, StoreBench


@pytest.fixture
def bench():
    made = StoreBench()
    yield made
    made.database.close()


def swept(bench: StoreBench, most: int = 100) -> tuple[list[str], int]:
    due = bench.run(bench.store.due(most))
    return bench.run(bench.store.settle_due(due, LEASE_MS))


def test_a_task_that_nobody_took_is_dispatched_again_later_and_later(bench: StoreBench):
    """An unclaimed task is dispatched after a lease's time, then after twice as long, and so on up to a bound."""
    bench.insert()
    gaps = []
    last = bench.time_ms
    while len(gaps) < 9:
        bench.pass_ms(LEASE_MS)
        ids, _ = swept(bench)
        if ids:
            gaps.append((bench.time_ms - last) // LEASE_MS)
            last = bench.time_ms
    assert gaps == [1, 2, 4, 8, 16, 32, 64, 64, 64]


def test_a_dead_workers_task_is_dispatched_when_its_lease_is_over(bench: StoreBench):
    """A live lease is left alone and looked at again when it ends; then the task is dispatched."""
    bench.insert()
    bench.pass_ms(LEASE_MS // 2)
    bench.claim()
    bench.pass_ms(LEASE_MS // 2)
    assert swept(bench) == ([], 0)
    assert bench.row("task")["wake_at"] == bench.row("task")["lease_until"]
    bench.pass_ms(LEASE_MS // 2)
    assert swept(bench) == (["task"], 0)
    assert bench.claim().stalls == 1


def test_a_claim_brings_the_sweep_forward(bench: StoreBench):
    """After long spacing between dispatches, a claim whose worker dies is still noticed within its lease."""
    bench.insert()
    for _ in range(40):
        bench.pass_ms(LEASE_MS)
        swept(bench)
    assert bench.row("task")["wake_at"] > bench.time_ms + LEASE_MS
    bench.claim()
    bench.pass_ms(LEASE_MS)
    assert swept(bench) == (["task"], 0)


def test_a_task_that_kills_every_worker_is_given_up(bench: StoreBench):
    """When workers die so early that none can fail the task, the sweep does; before that, and while one lives, not."""
    bench.insert()

    def sweep() -> list[str]:
        due = bench.run(bench.store.due(10))
        hopeless = [task_id for task_id, stalls in due.stalls.items() if stalls >= 3]
        return bench.run(bench.store.give_up(hopeless, 3, FAILURE, RETENTION_MS))

    for stalls in range(4):
        assert bench.claim().stalls == stalls
        assert bench.run(bench.store.give_up(["task"], 3, FAILURE, RETENTION_MS)) == []
        bench.pass_ms(2 * LEASE_MS)
        ended = sweep()
        assert ended == (["task"] if stalls == 3 else [])
    assert (bench.row("task")["status"], bench.row("task")["error_code"]) == ("failed", FAILURE.code)


def test_a_delayed_task_is_not_dispatched_before_its_time(bench: StoreBench):
    """A task that waits for a rate limit is the continuation's; the sweep looks only a lease later."""
    bench.insert()
    bench.step(bench.claim(), Release(3 * LEASE_MS, 4 * LEASE_MS))
    bench.pass_ms(3 * LEASE_MS)
    assert swept(bench) == ([], 0)
    bench.pass_ms(LEASE_MS)
    assert swept(bench) == (["task"], 0)


def test_two_sweeps_at_once_dispatch_once(bench: StoreBench):
    """Of two sweeps that saw the same tasks, one takes them on."""
    bench.insert()
    bench.pass_ms(LEASE_MS)
    due = bench.run(bench.store.due(10))
    first = bench.run(bench.store.settle_due(due, LEASE_MS))
    second = bench.run(bench.store.settle_due(due, LEASE_MS))
    assert (first, second) == ((["task"], 0), ([], 0))


def test_a_sweep_is_bounded_and_takes_the_longest_overdue_first(bench: StoreBench):
    """A page holds so many tasks and no more, oldest first; the rest is still due."""
    for number in range(5):
        bench.insert(f"task-{number}")
        bench.pass_ms(1)
    bench.pass_ms(LEASE_MS)
    assert swept(bench, 2)[0] == ["task-0", "task-1"]
    assert swept(bench, 10)[0] == ["task-2", "task-3", "task-4"]
    assert limits.SWEEP_TASKS_MOST + 2 <= 45  # sends and D1 calls of one sweep, within the free plan's subrequests


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_finished_task_is_erased_after_its_retention(bench: StoreBench, status: Status):
    """When the retention is over nothing of the task is left, and not a moment before."""
    bench.in_status(status)
    bench.pass_ms(RETENTION_MS - 1)
    assert swept(bench) == ([], 0)
    bench.pass_ms(1)
    assert swept(bench) == ([], 1)
    for table in ("tasks", "texts", "outputs", "failures"):
        assert bench.database.rows(f"SELECT * FROM {table}") == []  # noqa: S608


def test_a_task_put_back_in_the_last_moment_is_not_erased(bench: StoreBench):
    """A retry between the sweep's look and its erasure saves the task, with its text."""
    bench.in_status(Status.FAILED)
    bench.pass_ms(RETENTION_MS)
    due = bench.run(bench.store.due(10))
    assert due.over == ["task"]
    assert bench.run(bench.store.retry("task", LEASE_MS))
    assert bench.run(bench.store.settle_due(due, LEASE_MS)) == ([], 0)
    assert bench.claim().text == "xx"
