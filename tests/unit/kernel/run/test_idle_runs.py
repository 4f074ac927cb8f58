"""Idle runs end before any of their calls could start; after each one in a row the task rests twice as long."""

import asyncio

import pytest

from src.kernel.domain import limits
from src.kernel.domain.task import Reduce, Route, Status
from src.kernel.run.context import Ended, Released
from src.kernel.work.worker import Host
from tests.support.worker_bench import WorkerBench

SLICE = Host(Route.QUEUE, 5.0)


@pytest.mark.parametrize("seconds", [4.5, 6.0])
def test_a_database_that_outlasts_the_slice_is_left_alone(bench: WorkerBench, seconds: float):
    """In this test the database is so slow that the slice ends before its calls could start."""
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
    bench.insert(12)
    assert bench.run(Host(Route.QUEUE, 0.5)) == Released(0)
    assert len(bench.model.calls) == 6
    assert bench.run() == Ended(Status.COMPLETED)


def test_a_merge_goes_on_after_an_idle_run(bench: WorkerBench):
    bench.insert(6, Reduce.MERGE)
    assert bench.run(Host(Route.QUEUE, 0.5)) == Released(0)
    assert bench.task().completed == 6
    bench.database.seconds = 6.0
    assert isinstance(bench.run(SLICE), Released)
    assert [line["idle_runs"] for line in bench.events("run_idle")] == [1]
    bench.do(asyncio.sleep(limits.IDLE_SECONDS_FIRST))
    bench.database.seconds = 0.0
    assert bench.run() == Ended(Status.COMPLETED)
