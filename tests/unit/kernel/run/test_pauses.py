"""What waits while a failed call pauses: only this call, in the run or, for a long pause, with the task given back."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from src.kernel.domain.errors import ModelRateLimited, ModelUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Route, Status
from src.kernel.run.context import Ended, Released, RunOutcome
from src.kernel.run.ledger import Ledger
from src.kernel.work.worker import Host
from tests.support.worker_bench import WorkerBench
from tests.unit.kernel.run.test_ledger import FIRST, REPLY, SECOND, THIRD, claim, started


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench(max_attempts=9, patience_seconds=0)
    yield made
    made.close()


def test_a_failed_call_that_waits_holds_up_no_other_call() -> None:
    ledger = Ledger(claim(), 3)
    started(ledger, FIRST, SECOND)
    ledger.add([THIRD])
    ledger.succeeded(FIRST, REPLY, now=9)
    ledger.failed(SECOND, ModelUnavailable("503"), 10, 1)
    next_at = ledger.next_at(10)
    assert next_at is not None
    assert next_at <= 10
    assert ledger.progress([], 3, 10).wait is None
    assert ledger.startable(10, 9) == [THIRD]
    ledger.start([THIRD], 10)
    assert ledger.next_at(10) == 11
    wait = ledger.progress([], 3, 10).wait
    assert wait is not None
    assert (wait.reason, ledger.startable(10, 9)) == ("backoff", [])


@pytest.mark.parametrize(("route", "delays"), [(Route.QUEUE, [16.0, 32.0, 60.0]), (Route.DIRECT, [2.0, 30.0])])
def test_a_long_pause_after_a_failure_ends_on_time_on_every_route(
    bench: WorkerBench, route: Route, delays: list[float]
) -> None:
    """The queue gets the whole pause as delay. The direct route gets 30 s less, for which the next run itself waits."""
    bench.insert(1)
    bench.model.act = lambda call, number: ModelUnavailable("503")
    given = []
    while len(bench.model.calls) < 7:
        outcome = _run(bench, route)
        assert isinstance(outcome, Released)
        given.append(outcome.delay_seconds)
        bench.do(asyncio.sleep(outcome.delay_seconds))
    assert given == delays
    times = [at for at, _ in bench.model.calls]
    assert [later - before - 1 for before, later in pairwise(times)] == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(19.5, Ended(Status.COMPLETED)), (20.0, Released(20.0)), (20.5, Released(20.5))]
)
def test_a_run_waits_itself_for_less_than_half_of_its_lease(seconds: float, outcome: RunOutcome) -> None:
    """A shorter pause is over before the claim must be renewed. For a longer one the task is given back."""
    bench = WorkerBench(lease_seconds=40.0)
    bench.insert(1)
    bench.model.act = lambda call, number: ModelRateLimited("429", seconds) if number == 1 else None
    assert bench.run() == outcome
    bench.close()


def _run(bench: WorkerBench, route: Route) -> object:
    worker = replace(bench.worker(), chance=lambda: 1.0)
    return bench.do(worker.run(TaskKey("task"), Host(route, 600.0)))
