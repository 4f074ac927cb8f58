"""Runs that end before any of their calls could start: after each, the task rests for longer."""

import asyncio

import pytest

from src.core import limits
from src.core.states import Status
from src.core.task import Reduce, Route
from src.processing.outcomes import Ended, Released
from src.processing.worker import Host
from tests.support.worker_bench import WorkerBench

SLICE = Host(Route.QUEUE, 5.0)


@pytest.fixture
def bench():
    made = WorkerBench()
    yield made
    made.close()


@pytest.mark.parametrize("seconds", [4.5, 6.0])
def test_a_database_that_outlasts_the_slice_is_left_alone(bench: WorkerBench, seconds: float):
    """In this test a slice ends before its calls could start, or before its claim has landed.

    The run did not make three announcements in vain, but the task still rests, twice as long each time.
    """
    bench.insert(12)
    bench.database.seconds = seconds
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
    """A slice that ends in the middle of a task has done something, so the next run need not wait."""
    bench.insert(12)
    assert bench.run(Host(Route.QUEUE, 0.5)) == Released(0)
    assert len(bench.model.calls) == 6
    assert bench.run() == Ended(Status.COMPLETED)


def test_a_merge_goes_on_after_an_idle_run(bench: WorkerBench):
    """A run after an idle one may write twice: its claim, and one announcement.

    The reads of a merge in between are no writes. Otherwise the run would only claim the task and give it back.
    """
    bench.insert(6, Reduce.MERGE)
    assert bench.run(Host(Route.QUEUE, 0.5)) == Released(0)
    assert bench.task().completed == 6
    bench.database.seconds = 6.0
    assert isinstance(bench.run(SLICE), Released)
    assert [line["idle_runs"] for line in bench.events("run_idle")] == [1]
    bench.do(asyncio.sleep(limits.IDLE_SECONDS_FIRST))
    bench.database.seconds = 0.0
    assert bench.run() == Ended(Status.COMPLETED)
