"""A used-up allowance of a day: the task waits for midnight UTC instead of failing, and goes on."""

import asyncio
from collections.abc import Iterator

import pytest

from src.kernel.calls import wire
from src.kernel.calls.protocol import ModelCall
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelDayUsedUp, ModelQuotaExhausted, seconds_until_reset
from src.kernel.domain.task import Route, Status
from src.kernel.run.context import Ended, Released
from src.kernel.store.claims import Unclaimed
from tests.support.store_bench import START_MS
from tests.support.worker_bench import HOST, WorkerBench

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
    """The task is given back until midnight, says why, loses no attempt, and completes after midnight."""
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
    """A deadline before the reset ends the task then."""
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
