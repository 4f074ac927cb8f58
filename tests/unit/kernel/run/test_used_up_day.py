"""Pauses: a failed call alone waits, and a used-up allowance of a day is waited for until midnight UTC."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.errors import (
    ModelDayUsedUp,
    ModelQuotaExhausted,
    ModelRateLimited,
    ModelUnavailable,
    seconds_until_reset,
)
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.task import Route, Status
from src.kernel.run.context import Ended, Released, RunOutcome
from src.kernel.run.ledger import Ledger
from src.kernel.store.claims import Unclaimed
from src.kernel.work.worker import Host
from tests.support.store_bench import START_MS
from tests.support.worker_bench import HOST, WorkerBench
from tests.unit.kernel.run.test_ledger import FIRST, REPLY, SECOND, THIRD, claim, started

MIDNIGHT = seconds_until_reset(START_MS)


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    """Make a bench whose model's day is used up after two calls, until midnight."""
    made = WorkerBench()

    def act(call: ModelCall, number: int) -> ModelDayUsedUp | None:
        return ModelDayUsedUp("4006") if number > 2 and made.loop.time() < MIDNIGHT else None

    made.model.act = act
    yield made
    made.close()


@pytest.mark.parametrize("route", [Route.QUEUE, Route.DIRECT, Route.DURABLE_OBJECT])
def test_the_task_waits_for_the_reset_and_goes_on(bench: WorkerBench, route: Route) -> None:
    bench.insert(8)
    host = HOST._replace(route=route)
    outcome = bench.run(host)
    assert isinstance(outcome, Released)
    waits = bench.task().waiting_for
    assert waits is not None
    assert waits.reason == "quota"
    assert waits.until == pytest.approx(START_MS + MIDNIGHT * 1000, abs=2_000)
    assert bench.task().last_error is not None
    made = len(bench.model.calls)
    assert isinstance(bench.run(host), Unclaimed)
    bench.do(asyncio.sleep(MIDNIGHT - 60))
    assert isinstance(bench.run(host), Unclaimed)
    assert len(bench.model.calls) == made
    bench.do(asyncio.sleep(62))
    assert bench.run(host) == Ended(Status.COMPLETED)
    assert (bench.task().completed, bench.task().last_error) == (8, None)


def test_tasks_go_on_one_after_the_other(bench: WorkerBench) -> None:
    """A random part of five minutes lies between the reset and a task's next call."""
    bench.insert(8)
    outcome = bench.do(bench.worker(chance=lambda: 1.0).run(bench.task().task_key, HOST))
    assert isinstance(outcome, Released)
    assert outcome.delay_seconds == pytest.approx(MIDNIGHT + limits.RESET_SPREAD_SECONDS, abs=2)


def test_the_deadline_ends_the_wait(bench: WorkerBench) -> None:
    bench.insert(8, deadline_ms=60_000)
    assert isinstance(bench.run(), Released)
    bench.do(asyncio.sleep(61))
    bench.run()
    assert bench.task().status is Status.FAILED
    assert bench.task().failure.code == "deadline_exceeded"  # type: ignore[union-attr]


def test_a_quota_that_nobody_renews_still_fails_the_task(bench: WorkerBench) -> None:
    """OpenAI's `insufficient_quota` has no known reset: the task fails at once."""
    bench.model.act = lambda call, number: ModelQuotaExhausted("insufficient_quota")
    bench.insert(8)
    assert bench.run() == Ended(Status.FAILED)


def test_a_budget_is_renewed_when_its_error_says(bench: WorkerBench) -> None:
    """A gateway's budget that names its reset is waited for as a day is, and not shown as a rate limit."""
    bench.model.act = lambda call, number: ModelDayUsedUp("2045", 7_200.0) if bench.loop.time() < 7_000 else None
    bench.insert(8)
    assert isinstance(bench.run(), Released)
    waits = bench.task().waiting_for
    assert waits is not None
    assert waits.reason == "quota"
    assert 7_190_000 < (waits.until or 0) - START_MS < 7_510_000
    bench.do(asyncio.sleep(7_510))
    assert bench.run() == Ended(Status.COMPLETED)


def test_it_crosses_a_lane() -> None:
    """A lane tells the two apart, although clients see one code for both."""
    for error in (ModelDayUsedUp("x"), ModelQuotaExhausted("x")):
        assert type(wire.read_outcome(wire.write_outcome(error))) is type(error)


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
def test_a_long_pause_after_a_failure_ends_on_time_on_every_route(make, route: Route, delays: list[float]):
    """The queue gets the whole pause as delay. The direct route gets 30 s less, for which the next run itself waits."""
    pausing = make(max_attempts=9, patience_seconds=0)
    pausing.insert(1)
    pausing.model.act = lambda call, number: ModelUnavailable("503")
    given = []
    while len(pausing.model.calls) < 7:
        worker = replace(pausing.worker(), chance=lambda: 1.0)
        outcome = pausing.do(worker.run(TaskKey("task"), Host(route, 600.0)))
        assert isinstance(outcome, Released)
        given.append(outcome.delay_seconds)
        pausing.do(asyncio.sleep(outcome.delay_seconds))
    assert given == delays
    times = [at for at, _ in pausing.model.calls]
    assert [later - before - 1 for before, later in pairwise(times)] == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(
    ("seconds", "outcome"), [(19.5, Ended(Status.COMPLETED)), (20.0, Released(20.0)), (20.5, Released(20.5))]
)
def test_a_run_waits_itself_for_less_than_half_of_its_lease(make, seconds: float, outcome: RunOutcome):
    """A shorter pause is over before the claim must be renewed. For a longer one the task is given back."""
    pausing = make(lease_seconds=40.0)
    pausing.insert(1)
    pausing.model.act = lambda call, number: ModelRateLimited("429", seconds) if number == 1 else None
    assert pausing.run() == outcome
