"""Tests the invariant of progress: the workers of a task may write only in proportion to their work and to time."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.campaign.checks.progress import (
    WRITES_PER_CALL,
    WRITES_PER_CALLING_CLAIM,
    WRITES_PER_DEATH,
    WRITES_PER_MINUTE,
    WRITES_PER_READING_CLAIM,
    FileSlice,
    WriteBudget,
    slices_recorded,
)
from simulator.campaign.subject.row_changes import COLUMNS, InvariantBroken, Row
from src.core.ids import TaskKey
from src.store.d1.statement import Statement
from src.store.sql import batches, file_texts

KEY = TaskKey("local:t")
SPARE = 5


def row(**columns: Any) -> Row:
    """Return the row of a task that is being processed; columns that are not given are 0."""
    zeros: dict[str, Any] = dict.fromkeys(Row._fields, 0)
    assert len(zeros) == len(COLUMNS.split(","))
    return Row(**zeros)._replace(task_key=KEY, status="processing", fence=1, in_flight="[]")._replace(**columns)


def test_writes_without_calls_or_time_are_noticed():
    """A fixed number of writes is allowed without calls or time, and one write more breaks the invariant."""
    progress = WriteBudget(SPARE)
    for second in range(SPARE):
        progress.wrote(KEY, second / 4)
    with pytest.raises(InvariantBroken, match="no progress: 6 writes under its claims in 1 s, and 0 calls ended"):
        progress.wrote(KEY, 1.25)


def test_time_and_calls_account_for_writes():
    """Two writes for each minute and two writes for each ended call are allowed, but a few more are not."""
    calm, busy = WriteBudget(SPARE), WriteBudget(SPARE)
    for number in range(1, 100):
        calm.wrote(KEY, number * 60 / WRITES_PER_MINUTE)
        busy.changed(row(settled=number - 1), row(settled=number))
        for _ in range(WRITES_PER_CALL):
            busy.wrote(KEY, number / 100)
    assert calm.spare <= 1
    assert busy.spare <= WRITES_PER_CALL
    hasty = WriteBudget()
    for number in range(1, 50):
        hasty.wrote(KEY, number * 50 / WRITES_PER_MINUTE)
    assert hasty.spare == pytest.approx(1 + 48 / 6)


def test_what_was_done_long_ago_accounts_for_nothing():
    """Many early calls or a long pause do not allow many writes later."""
    progress = WriteBudget(SPARE)
    progress.changed(row(), row(settled=1_000))
    progress.wrote(KEY, 1)
    progress.wrote(KEY, 100_000)
    for _ in range(SPARE - 1):
        progress.wrote(KEY, 100_000)
    with pytest.raises(InvariantBroken):
        progress.wrote(KEY, 100_000)


def test_calls_that_a_claim_casts_doubt_on_have_not_ended():
    """Calls that a claim has declared in doubt do not count as ended calls, and therefore allow no writes."""
    progress = WriteBudget()
    for fence in range(SPARE):
        progress.changed(
            row(status="pending", fence=fence, in_doubt=6 * fence), row(fence=fence + 1, in_doubt=6 * fence + 6)
        )
        progress.wrote(KEY, 0)
    assert progress.spare == SPARE


def test_a_worker_that_took_over_from_a_dead_one_may_write_again():
    """For each death of a worker, the next worker's claim and one announcement of calls are allowed."""
    progress = WriteBudget()
    for fence in range(10):
        progress.changed(row(fence=fence), row(fence=fence + 1))
        for _ in range(WRITES_PER_DEATH):
            progress.wrote(KEY, 0)
    assert progress.spare == WRITES_PER_DEATH


def test_a_client_that_puts_its_task_back_begins_anew():
    """After a retry by the client, earlier writes of the task do not count."""
    progress = WriteBudget(SPARE)
    for number in range(4 * SPARE):
        if number % SPARE == 0:
            progress.changed(row(status="failed"), row(status="pending", fence=2))
        progress.wrote(KEY, 0)


def test_the_first_twin_of_a_write_is_left_out():
    """If the answer to a write was lost, one repetition of the write does not count, but further repetitions do."""
    progress = WriteBudget(SPARE)
    for step in range(SPARE):
        progress.wrote(KEY, 0, f"w/1/{step}")
        progress.wrote(KEY, 0, f"w/1/{step}")
    assert progress.spare == SPARE
    with pytest.raises(InvariantBroken):
        progress.wrote(KEY, 0, "w/1/0")


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


def test_many_calls_under_one_claim_account_for_one_claim():
    """In short runs too, a further call under a claim accounts for two writes."""
    progress = WriteBudget(math.inf, short_runs=True)
    for settled in range(RUNS):
        progress.changed(row(settled=settled), row(settled=settled + 1))
        for _ in range(WRITES_PER_CALL + 1):
            progress.wrote(KEY, 0)
    assert progress.spare == WRITES_PER_CALL + RUNS


def test_claims_without_work_are_not_accounted_for_in_short_runs():
    """A claim that is given back without an ended call accounts for nothing, however short the runs are."""
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
    """In short runs a claim and its end are accounted for if the claim has read a file further than before."""
    progress = WriteBudget(math.inf, short_runs=True)
    for number in range(RUNS):
        progress.wrote(KEY, 0)
        progress.read(FileSlice(KEY, 1 + fences * number, 600 + bytes_a_run * number))
        progress.wrote(KEY, 0)
    assert progress.spare == spare


def test_a_client_that_puts_its_task_back_has_its_file_read_anew():
    """After a retry by the client, a slice accounts for writes even if the file was read further before."""
    progress = WriteBudget(math.inf, short_runs=True)
    progress.read(FileSlice(KEY, 1, 600 * RUNS))
    progress.changed(row(status="failed"), row(status="pending", fence=2))
    for number in range(1, RUNS):
        progress.wrote(KEY, 0)
        progress.read(FileSlice(KEY, 2 + number, 600 * number))
        progress.wrote(KEY, 0)
    assert progress.spare == WRITES_PER_READING_CLAIM


@pytest.mark.parametrize(
    ("one", "bytes_read"), [(batches.READ_ON, "read_bytes"), (file_texts.CUT_ON, "cut_bytes")], ids=["batch", "text"]
)
def test_slices_are_those_that_were_recorded(one: Statement, bytes_read: str):
    """A statement that records a slice is one, with its task, fence and bytes, if it changed a row."""
    values = {"task_key": KEY, "fence": 3.0, bytes_read: 600.0}
    prepared: Any = SimpleNamespace(sql=one.sql, values=[values.get(name) for name in one.parameters])
    budget = WriteBudget()
    for changes, found in ((1, [FileSlice(KEY, 3, 600)]), (0, [])):
        assert list(slices_recorded([prepared], [{"meta": {"changes": changes}}], budget.slice_parameters)) == found
