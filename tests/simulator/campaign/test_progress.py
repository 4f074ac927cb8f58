"""Tests the invariant of progress: the workers of a task may write only in proportion to their work and to time."""

import math
from typing import Any

import pytest

from simulator.campaign.checks.progress import (
    WRITES_PER_CALL,
    WRITES_PER_CALLING_CLAIM,
    WRITES_PER_READING_CLAIM,
    FileSlice,
    WriteBudget,
)
from simulator.campaign.subject.row_changes import COLUMNS, InvariantBroken, Row
from src.kernel.domain.ids import TaskKey

KEY = TaskKey("local:t")
SPARE = 5


def row(**columns: Any) -> Row:
    zeros: dict[str, Any] = dict.fromkeys(Row._fields, 0)
    assert len(zeros) == len(COLUMNS.split(","))
    return Row(**zeros)._replace(task_key=KEY, status="processing", fence=1, in_flight="[]")._replace(**columns)


def test_writes_without_calls_or_time_are_noticed():
    progress = WriteBudget(SPARE)
    for second in range(SPARE):
        progress.wrote(KEY, second / 4)
    with pytest.raises(InvariantBroken, match="no progress: 6 writes under its claims in 1 s, and 0 calls ended"):
        progress.wrote(KEY, 1.25)


def test_calls_that_a_claim_casts_doubt_on_have_not_ended():
    progress = WriteBudget()
    for fence in range(SPARE):
        progress.changed(
            row(status="pending", fence=fence, in_doubt=6 * fence), row(fence=fence + 1, in_doubt=6 * fence + 6)
        )
        progress.wrote(KEY, 0)
    assert progress.spare == SPARE


RUNS = 10


@pytest.mark.parametrize(
    ("short_runs", "spare"), [(True, WRITES_PER_CALL + WRITES_PER_CALLING_CLAIM), (False, RUNS + 1)]
)
def test_the_claim_of_each_call_is_accounted_for_in_short_runs(short_runs: bool, spare: int):
    """If each call needs a claim, its three writes are accounted for in short runs; otherwise one of them is not."""
    progress = WriteBudget(math.inf, short_runs=short_runs)
    for fence in range(1, RUNS + 1):
        claimed = row(fence=fence, settled=fence - 1)
        progress.changed(claimed._replace(status="pending", fence=fence - 1), claimed)
        progress.wrote(KEY, 0)
        progress.wrote(KEY, 0)
        progress.changed(claimed, claimed._replace(status="pending", settled=fence))
        progress.wrote(KEY, 0)
    assert progress.spare == spare


def test_claims_without_work_are_not_accounted_for_in_short_runs():
    progress = WriteBudget(math.inf, short_runs=True)
    for fence in range(1, RUNS + 1):
        progress.changed(row(status="pending", fence=fence - 1), row(fence=fence))
        progress.wrote(KEY, 0)
        progress.changed(row(fence=fence), row(status="pending", fence=fence))
        progress.wrote(KEY, 0)
    assert progress.spare == 2 * RUNS


@pytest.mark.parametrize(
    ("fences", "bytes_a_run", "spare"),
    [
        pytest.param(1, 600, WRITES_PER_READING_CLAIM, id="each claim reads on"),
        pytest.param(0, 600, 2 * RUNS - 1, id="one claim reads on and on"),
        pytest.param(1, 0, 2 * RUNS - 1, id="each claim reads the same"),
    ],
)
def test_a_claim_under_which_a_file_is_read_on_is_accounted_for(fences: int, bytes_a_run: int, spare: int):
    progress = WriteBudget(math.inf, short_runs=True)
    for number in range(RUNS):
        progress.wrote(KEY, 0)
        progress.read(FileSlice(KEY, 1 + fences * number, 600 + bytes_a_run * number))
        progress.wrote(KEY, 0)
    assert progress.spare == spare
