"""Outputs that are paid for are kept, even if they come during a write, or after the task has ended."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from src.kernel.domain.ids import TaskKey
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Status
from src.kernel.run.context import Ended, Lost
from src.kernel.work.worker import Host
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.worker_bench import HOST, WorkerBench

TASK = TaskKey("task")


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    """Make a worker with two calls at a time: the first takes 1 s, the second 1.5 s."""
    made = WorkerBench(concurrency=2)
    made.model.seconds = lambda number: 1.5 if number == 2 else 1.0
    yield made
    made.close()


def slowly(bench: WorkerBench, meanwhile: Callable[[], Awaitable[Any]] | None = None, *, which: int = 2) -> None:
    """Make the database take a second for the write of the first output. `meanwhile` comes first."""
    batch, number = bench.database.batch, 0

    async def slow(statements: Any) -> Any:
        nonlocal number
        number += 1
        if number == which:
            if meanwhile is not None:
                await meanwhile()
            await asyncio.sleep(1)
        return await batch(statements)

    bench.database.batch = slow  # type: ignore[method-assign]


def cancel(bench: WorkerBench) -> Awaitable[Any]:
    return bench.store.cancel(TASK, 1_000_000)


def go_on(bench: WorkerBench, host: Host = HOST) -> None:
    """Put the task back, and run it to its end."""
    assert bench.do(bench.store.retry(TASK, bench.settings.lease_ms)) is not None
    assert bench.run(host) == Ended(Status.COMPLETED)


def bill(bench: WorkerBench) -> tuple[int, int]:
    usage = bench.task().usage
    return usage.model_calls, usage.in_doubt


def test_an_output_that_came_during_a_write_outlasts_a_cancellation(bench: WorkerBench):
    """In this test a client cancels the task during the write of its first output, and the second output comes then."""
    bench.insert(3)
    slowly(bench, lambda: cancel(bench))
    assert bench.run() == Ended(Status.CANCELLED)
    assert (bench.task().completed, bill(bench)) == (2, (2, 0))
    go_on(bench)
    assert (len(bench.model.calls), bill(bench)) == (3, (3, 0))


def test_nothing_is_written_behind_another_claim(bench: WorkerBench):
    """If a task was put back and claimed again, the old worker's outputs are not written."""

    async def cancel_and_retry() -> None:
        await cancel(bench)
        await bench.store.retry(TASK, bench.settings.lease_ms)

    bench.insert(3)
    slowly(bench, cancel_and_retry)
    assert bench.run() == Lost()
    assert (bench.task().completed, bill(bench)) == (0, (2, 2))


def test_the_last_write_is_insisted_on(bench: WorkerBench):
    """If D1 is away when a worker learns that its task was cancelled, it writes its paid outputs once D1 is back."""
    bench.insert(3)
    settle = type(bench.store).settle
    outages = [20]

    async def away(store: Any, *args: Any) -> Any:
        if outages:
            bench.database.fail(NETWORK_LOST, times=outages.pop())
        return await settle(store, *args)

    slowly(bench, lambda: cancel(bench))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(bench.store), "settle", away)
        assert bench.run() == Ended(Status.CANCELLED)
    assert (bench.task().completed, bill(bench)) == (2, (2, 0))


@pytest.fixture
def laned(bench: WorkerBench) -> WorkerBench:
    bench.settings = Settings(plan="paid")
    return bench


def test_what_lanes_have_begun_is_kept_when_the_task_is_cancelled(laned: WorkerBench):
    """A lane that gets no notice of the cancellation makes all its calls to the end."""
    laned.insert(18)
    laned.model.seconds = lambda number: 9.0 if number == 7 else 1.0
    slowly(laned, lambda: cancel(laned), which=3)
    assert laned.run(laned.laned_host(deaf=True)) == Ended(Status.CANCELLED)
    assert laned.loop.time() == pytest.approx(9.0)
    assert (laned.task().completed, bill(laned)) == (12, (12, 0))
    go_on(laned, laned.laned_host())
    assert (len(laned.model.calls), bill(laned)) == (18, (18, 0))
