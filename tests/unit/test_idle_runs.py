"""Runs that end before any of their calls could start: each leaves its task alone for longer than the last."""

import asyncio
from typing import Any

import pytest

from src.core import limits
from src.core.states import Status
from src.core.task import Route
from src.processing.outcomes import Ended, Released
from src.processing.worker import Host
from tests.support.worker_bench import WorkerBench

SLICE = Host(Route.QUEUE, 5.0)


@pytest.fixture
def bench():
    made = WorkerBench()
    made.insert(12)
    yield made
    made.close()


def slow(bench: WorkerBench, seconds: float) -> None:
    """Have the database take so long for each batch."""
    batch = bench.database.batch

    async def late(statements: Any) -> Any:
        await asyncio.sleep(seconds)
        return await batch(statements)

    bench.database.batch = late


@pytest.mark.parametrize("seconds", [4.5, 6.0])
def test_a_database_that_outlasts_the_slice_is_left_alone(bench: WorkerBench, seconds: float):
    """The slice is over before the calls could start, or before the claim is there. No three announcements were
    fruitless, and the task is left alone all the same, for twice as long each time."""
    slow(bench, seconds)
    delays = []
    for _ in range(4):
        outcome = bench.run(SLICE)
        assert isinstance(outcome, Released)
        delays.append(outcome.delay_seconds)
        bench.do(asyncio.sleep(outcome.delay_seconds))
    assert delays == [limits.IDLE_SECONDS_FIRST * 2**run for run in range(4)]
    assert bench.model.calls == []
    assert (bench.task().usage.model_calls, bench.task().attempts) == (0, 1)


def test_a_run_that_made_calls_is_continued_at_once(bench: WorkerBench):
    """A slice that is over in the middle of a task has done something: the next run need not wait."""
    assert bench.run(Host(Route.QUEUE, 0.5)) == Released(0)
    assert len(bench.model.calls) == 6
    assert bench.run() == Ended(Status.COMPLETED)
