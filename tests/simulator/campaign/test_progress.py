"""Tests the invariant of progress: the workers of a task may write only in proportion to ended calls and to time."""

from typing import Any

import pytest

from simulator.campaign.checks.progress import WRITES_PER_CALL, WRITES_PER_DEATH, WRITES_PER_MINUTE, WriteBudget
from simulator.campaign.subject.row_changes import COLUMNS, InvariantBroken, Row
from src.core.ids import TaskKey

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
