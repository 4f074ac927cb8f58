"""Outputs that are paid for are kept, whatever comes between, and few writes keep the outputs of uneven calls."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from statistics import mean
from typing import Any, NamedTuple

import pytest

from src.kernel.domain import limits
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Status
from src.kernel.run.context import Ended, Lost
from src.kernel.store.tasks import TaskStore
from src.kernel.work.worker import Host
from tests.support.sqlite_d1 import NETWORK_LOST
from tests.support.steps import noted
from tests.support.worker_bench import HOST, WorkerBench
from tests.unit.kernel.run.test_claim_checks import TASK, bill, cancel


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


def go_on(bench: WorkerBench, host: Host = HOST) -> None:
    """Put the task back, and run it to its end."""
    assert bench.do(bench.store.retry(TASK, bench.settings.lease_ms)) is not None
    assert bench.run(host) == Ended(Status.COMPLETED)


def test_an_output_that_came_during_a_write_outlasts_a_cancellation(bench: WorkerBench):
    """In this test a client cancels the task during the write of its first output, and the second output comes then."""
    bench.insert(3)
    slowly(bench, lambda: cancel(bench))
    assert bench.run() == Ended(Status.CANCELLED)
    assert (bench.task().completed, bill(bench)) == (2, (2, 0))
    go_on(bench)
    assert (len(bench.model.calls), bill(bench)) == (3, (3, 0))


def test_nothing_is_written_behind_another_claim(bench: WorkerBench):
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


SEEDS = range(10)
SUBMISSION_ROWS, SUBMISSION_CALLS = 2, 1


class Spent(NamedTuple):
    """What a run spent: rows and calls of D1, with the submission, without checks; and seconds."""

    rows: int
    calls: int
    seconds: float


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Record all runs' checks of claims, which slow calls need in any case."""
    return noted(monkeypatch, TaskStore, "stands")


def spent(seed: int, least: float, most: float, looks: list[tuple[Any, ...]]) -> Spent:
    bench, dice = WorkerBench(), Random(seed)
    bench.insert(20)
    bench.model.seconds = lambda number: dice.uniform(least, most)
    looks.clear()
    assert bench.run() == Ended(Status.COMPLETED)
    assert len(bench.model.calls) == 20
    (line,) = bench.events("run_ended")
    bench.close()
    calls = line["database_calls"] - len(looks)
    return Spent(line["rows_written"] + SUBMISSION_ROWS, calls + SUBMISSION_CALLS, bench.loop.time())


@pytest.mark.parametrize(
    ("least", "most", "rows", "calls"),
    [(5.0, 5.0, 14, 6), (4.5, 5.5, 20, 8), (4.0, 6.0, 24, 11), (1.0, 3.0, 32, 15), (2.0, 10.0, 30, 14)],
)
def test_uneven_calls_write_few_rows(
    looks: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, least: float, most: float, rows: int, calls: int
):
    """For each of ten seeds the rows written and the D1 calls stay within a bound."""
    waiting = [spent(seed, least, most, looks) for seed in SEEDS]
    assert max(one.rows for one in waiting) <= rows
    assert max(one.calls for one in waiting) <= calls
    monkeypatch.setattr(limits, "LINGER_SECONDS_QUICK", 0.0)
    monkeypatch.setattr(limits, "LINGER_SECONDS_MOST", 0.0)
    alone = [spent(seed, least, most, looks) for seed in SEEDS]
    assert mean(one.seconds for one in waiting) <= 1.125 * mean(one.seconds for one in alone)
    if least < most:
        assert max(one.rows for one in waiting) < min(one.rows for one in alone)


def test_equal_calls_cost_exactly_what_they_did(looks: list[tuple[Any, ...]]):
    bench = WorkerBench()
    bench.insert(20)
    bench.model.seconds = lambda number: 5.0
    assert bench.run() == Ended(Status.COMPLETED)
    (line,) = bench.events("run_ended")
    bench.close()
    calls = line["database_calls"] - len(looks)
    assert (calls, line["rows_written"], line["subrequests"] - len(looks)) == (5, 12, 20 + 5)
