"""The writes of a task of 20 chunks whose calls take different times: ended calls wait for others, but not long."""

from random import Random
from statistics import mean
from typing import NamedTuple

import pytest

from src.kernel.domain import limits
from src.kernel.domain.task import Status
from src.kernel.run.context import Ended
from src.kernel.store.claims import Claim
from src.kernel.store.tasks import TaskStore
from tests.support.worker_bench import WorkerBench

SEEDS = range(10)
SUBMISSION_ROWS, SUBMISSION_CALLS = 2, 1


class Spent(NamedTuple):
    """What a run spent: rows and calls of D1, with the submission, without checks; and seconds."""

    rows: int
    calls: int
    seconds: float


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Claim]:
    """Record all runs' checks of claims, which slow calls need in any case."""
    made: list[Claim] = []
    stands = TaskStore.stands

    async def counted(self: TaskStore, claim: Claim) -> bool:
        made.append(claim)
        return await stands(self, claim)

    monkeypatch.setattr(TaskStore, "stands", counted)
    return made


def spent(seed: int, least: float, most: float, looks: list[Claim]) -> Spent:
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
    looks: list[Claim], monkeypatch: pytest.MonkeyPatch, least: float, most: float, rows: int, calls: int
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


def test_equal_calls_cost_exactly_what_they_did(looks: list[Claim]):
    """A run of 20 chunks whose calls all take 5 s makes exactly five D1 calls: the claim, three writes, and the end."""
    bench = WorkerBench()
    bench.insert(20)
    bench.model.seconds = lambda number: 5.0
    assert bench.run() == Ended(Status.COMPLETED)
    (line,) = bench.events("run_ended")
    bench.close()
    calls = line["database_calls"] - len(looks)
    assert (calls, line["rows_written"], line["subrequests"] - len(looks)) == (5, 12, 20 + 5)
