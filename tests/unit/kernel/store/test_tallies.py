"""The sums over ended tasks: each end counts exactly once, whatever happens to the task, and no sum ever falls."""

from collections.abc import Sequence
from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Failure, Reduce, Status
from src.kernel.store.claims import CallKey, Claim, Fail, FailedCall, Finish, Output, Tries
from src.kernel.store.early_erasure import Old
from src.kernel.store.options import AnswerCounts
from src.kernel.store.tallies import BOUNDS_MS, FAILED_WITH, MEASURES, Tallies
from tests.conformance.cases.steps import progress
from tests.support.store_bench import FAILURE, OVERDUE, RETENTION_MS, StoreBench, new_task, outputs

KINDS = (RETENTION_MS, 3_600_000)
SHORT_MS = 3_600_000
CLAIM_MS = 60_000


def sums(bench: StoreBench) -> Tallies:
    return bench.store.beside(Tallies)


def fold(bench: StoreBench, most: int = 100, kinds: Sequence[int] = KINDS) -> bool:
    """Add ended tasks to the sums, a millisecond later."""
    bench.pass_ms(1)
    found = bench.run(sums(bench).foldable(kinds, most, CLAIM_MS))
    bench.run(sums(bench).fold(found, most))
    return found.more


def totals(bench: StoreBench) -> dict[str, int]:
    """Return all sums since the beginning, added up over statuses and routes."""
    rows = bench.database.rows("SELECT * FROM tallies WHERE at = 0")
    return {name: sum(row[name] for row in rows) for name in MEASURES}


def ended(bench: StoreBench) -> dict[str, int]:
    return {
        row["status"]: row["ended"]
        for row in bench.database.rows("SELECT status, sum(ended) AS ended FROM tallies WHERE at = 0 GROUP BY status")
    }


def complete(bench: StoreBench, name: str = "task", retention_ms: int = RETENTION_MS, **changes: Any) -> Claim:
    bench.insert(name)
    claim = bench.claim(name)
    facts = {"outputs": outputs(0, 1), "completed": 2, "calls_settled": 2, "input_tokens": 20, "output_tokens": 4}
    assert bench.step(claim, Finish(retention_ms), **(facts | changes))
    return claim


def fail(bench: StoreBench, name: str = "task", failure: Failure = FAILURE, **changes: Any) -> None:
    facts = {"failed": 1, "calls_settled": 3, "calls_in_doubt": 1} | changes
    assert bench.step(bench.claim(name), Fail(RETENTION_MS, failure), **facts)


def test_what_is_added_of_a_task(bench: StoreBench) -> None:
    bench.insert()
    bench.pass_ms(1_500)
    claim = bench.claim()
    bench.pass_ms(30_000)
    facts = {"outputs": outputs(0, 1), "completed": 2, "truncated": 1, "input_tokens": 20, "output_tokens": 4}
    assert bench.step(claim, Finish(RETENTION_MS), calls_settled=4, calls_in_doubt=1, **facts)
    fold(bench)
    row = bench.row("task")
    expected = {"ended": 1, "retries": 0, "dead_letters": 0, "calls": 5, "in_doubt": 1, "fruitless": 3, "truncated": 1}
    spans = {"waited": 1_500, "took": 31_500}
    for name, length in spans.items():
        expected |= {name: 1, f"{name}_ms": length}
        expected |= {f"{name}_le_{bound}": int(length <= bound) for bound in BOUNDS_MS}
    expected |= {"input_tokens": 20, "output_tokens": 4}
    expected |= dict.fromkeys(FAILED_WITH.values(), 0)
    expected |= dict.fromkeys(
        ("asked_again", "rejections", "repairs", "gap_chunks", "missed_quotes"), 0
    )  # of structured tasks
    expected |= dict.fromkeys(("cached_input", "cost_booked", "cost_doubted"), 0)  # of tasks with a price
    assert totals(bench) == expected
    (five,) = bench.database.rows("SELECT * FROM tallies WHERE at > 0")
    assert {name: five[name] for name in MEASURES} == expected
    assert (five["status"], five["route"]) == ("completed", "queue")
    assert five["at"] == row["finished_at"] // 300_000 * 300_000


def test_calls_for_a_gap_are_calls_without_an_output(bench: StoreBench) -> None:
    bench.insert(structure=Structure(gaps=True))
    claim = bench.claim()
    gap = FailedCall(CallKey(0, 1), Tries(1, 3), True, FAILURE, gap_chars=1)
    facts = {"outputs": outputs(0), "completed": 1, "failures": [gap], "failed": 1, "calls_settled": 4}
    assert bench.step(claim, Finish(RETENTION_MS, gaps=True), **facts)
    fold(bench)
    found = totals(bench)
    assert (found["calls"], found["fruitless"], found["gap_chunks"]) == (4, 3, 1)


def test_a_fold_that_is_sent_again_or_lands_late_adds_nothing(bench: StoreBench) -> None:
    """In this test two folds find the same end, and one of them lands again after a third fold."""
    complete(bench, "a")
    found = bench.run(sums(bench).foldable(KINDS, 100, CLAIM_MS))
    for _ in range(2):
        bench.run(sums(bench).fold(found, 100))
    bench.pass_ms(1_000)
    complete(bench, "b")
    fold(bench)
    bench.run(sums(bench).fold(found, 100))
    assert ended(bench) == {"completed": 2}
    assert totals(bench)["calls"] == 4


def test_a_fold_that_failed_and_lands_later_adds_nothing_twice(bench: StoreBench) -> None:
    complete(bench, "a")
    found = bench.run(sums(bench).foldable(KINDS, 100, CLAIM_MS))
    bench.database.fail("D1_ERROR: Network connection lost.", "later", times=3)
    with pytest.raises(Exception, match="cannot be reached"):
        bench.run(sums(bench).fold(found, 100))
    complete(bench, "b")
    fold(bench)
    bench.run(bench.database.land())
    fold(bench)
    assert ended(bench) == {"completed": 2}


def test_pages_lose_nothing_and_repeat_nothing(bench: StoreBench) -> None:
    for number in range(7):
        complete(bench, f"t{number}")
        bench.pass_ms(number != 3)
    pages = 1
    while fold(bench, 2):
        pages += 1
    assert ended(bench) == {"completed": 7}
    assert 3 <= pages <= 5


def test_no_task_ends_before_what_has_been_folded(bench: StoreBench) -> None:
    complete(bench, "a")
    fold(bench)
    bench.pass_ms(-60_000)
    complete(bench, "b")
    assert bench.row("b")["finished_at"] > bench.row("a")["finished_at"]
    assert bench.row("b")["wake_at"] == bench.row("b")["finished_at"] + RETENTION_MS
    fold(bench)
    bench.pass_ms(60_001)
    fold(bench)
    fold(bench)
    assert ended(bench) == {"completed": 2}


def test_each_retention_is_folded(bench: StoreBench) -> None:
    complete(bench, "a")
    complete(bench, "b", SHORT_MS)
    fold(bench)
    assert ended(bench) == {"completed": 2}
    bench.pass_ms(1)
    complete(bench, "c", 7_777_777)  # a worker with newer settings writes this task, whose retention no sweep knows yet
    fold(bench)
    assert ended(bench) == {"completed": 2}
    fold(bench, kinds=[7_777_777])
    complete(bench, "d")  # a worker with older settings writes this task
    fold(bench, kinds=[7_777_777])
    assert ended(bench) == {"completed": 4}


@pytest.mark.parametrize("folded", [False, True])
def test_what_is_erased_is_counted_once(bench: StoreBench, folded: bool) -> None:
    for name in ("deleted", "expired", "cleared"):
        complete(bench, name, 0 if name == "expired" else RETENTION_MS)
        bench.pass_ms(1)
    if folded:
        fold(bench, kinds=[0, RETENTION_MS])
        assert ended(bench) == {"completed": 3}
    for _ in range(2):
        bench.run(bench.store.erase(TaskKey("deleted")))
    due = bench.run(bench.store.past_retention(10))
    assert due.past_retention == ["expired"]
    for _ in range(2):
        bench.run(bench.store.erase_expired(due))
        bench.run(bench.store.erase_early(Old(bench.time_ms, [TaskKey("cleared")]), keep_input=False))
    assert bench.database.rows("SELECT id FROM tasks") == []
    fold(bench)
    assert ended(bench) == {"completed": 3}
    assert totals(bench)["calls"] == 6


def test_a_task_that_is_erased_before_its_end_counts_as_cancelled(bench: StoreBench) -> None:
    bench.insert()
    claim = bench.claim()
    assert bench.step(claim, calls_settled=1, in_flight=[(0, 1)], outputs=outputs(0), completed=1)
    bench.run(bench.store.erase(claim.task_key))
    assert ended(bench) == {"cancelled": 1}
    assert [totals(bench)[name] for name in ("calls", "in_doubt", "fruitless")] == [2, 1, 1]


@pytest.mark.parametrize("begun", [False, True])
def test_a_withdrawn_submission_counts_if_somebody_has_worked_on_it(bench: StoreBench, begun: bool) -> None:
    bench.insert()
    if begun:
        claim = bench.claim()
        assert bench.step(claim, calls_settled=1, outputs=outputs(0), completed=1)
    for _ in range(2):
        bench.run(bench.store.withdraw(new_task("task", 2, Reduce.CONCAT, bench.time_ms)))
    assert bench.database.rows("SELECT id FROM tasks") == []
    assert (ended(bench), totals(bench)["calls"]) == (({"cancelled": 1}, 1) if begun else ({}, 0))


@pytest.mark.parametrize("folded", [False, True])
def test_a_retry_adds_what_is_new_on_the_bill(bench: StoreBench, folded: bool) -> None:
    bench.insert()
    fail(bench)
    if folded:
        fold(bench)
    bench.pass_ms(10)
    assert bench.run(bench.store.retry(TaskKey("task"), 0)) is not None
    assert ended(bench) == {"failed": 1}
    assert totals(bench)["calls"] == 4
    fold(bench)
    claim = bench.claim()
    facts = {"outputs": outputs(0, 1), "completed": 2, "calls_settled": 6, "calls_in_doubt": 1}
    assert bench.step(claim, Finish(RETENTION_MS), **facts)
    fold(bench)
    fold(bench)
    assert ended(bench) == {"completed": 1, "failed": 1}
    figures = totals(bench)
    assert [figures[name] for name in ("calls", "in_doubt", "fruitless", "retries")] == [7, 1, 5, 1]
    assert figures["took"] == figures["waited"] == 1  # the time between the failure and the retry is no latency


@pytest.mark.parametrize("folded", [False, True])
def test_a_bill_that_is_settled_after_the_end(bench: StoreBench, folded: bool) -> None:
    bench.insert()
    claim = bench.claim()
    assert bench.step(claim, in_flight=[(0, 0), (0, 1)])
    assert bench.run(bench.store.cancel(claim.task_key, RETENTION_MS)).changed
    if folded:
        fold(bench)
        assert totals(bench)["calls"] == 0
    settled = progress(claim, calls_settled=1, calls_in_doubt=1, outputs=outputs(0), completed=1, output_tokens=5)
    for _ in range(2):
        assert bench.run(bench.store.settle(claim, settled, OVERDUE, RETENTION_MS)) is Status.CANCELLED
    fold(bench)
    figures = totals(bench)
    assert [figures[name] for name in ("ended", "calls", "in_doubt", "fruitless", "output_tokens")] == [1, 2, 1, 1, 5]


def leave_calls(bench: StoreBench, name: str = "task", **facts: Any) -> Claim:
    bench.insert(name)
    claim = bench.claim(name)
    assert bench.step(claim, calls_settled=1, in_flight=[(0, 0), (0, 1)], **facts)
    assert bench.run(bench.store.cancel(claim.task_key, RETENTION_MS)).changed
    return claim


@pytest.mark.parametrize("folded", [False, True])
def test_the_calls_of_a_dead_worker_are_added_once(bench: StoreBench, folded: bool) -> None:
    """A fold adds calls that a dead worker left on an ended task as in doubt, once it can no longer settle them."""
    claim = leave_calls(bench)
    for _ in range(2 * folded):
        fold(bench)
        assert [totals(bench)[name] for name in ("calls", "in_doubt", "fruitless")] == [1, 0, 1]
    bench.pass_ms(CLAIM_MS)
    found = bench.run(sums(bench).foldable(KINDS, 100, CLAIM_MS))
    assert found.silent == ["task"]
    before = bench.run(bench.store.task(claim.task_key))
    assert before is not None
    for _ in range(2):  # sent twice
        bench.run(sums(bench).fold(found, 100))
    late = progress(claim, calls_settled=3, outputs=outputs(0, 1), completed=2)
    assert bench.run(bench.store.settle(claim, late, OVERDUE, RETENTION_MS)) is None
    fold(bench)
    assert [totals(bench)[name] for name in ("ended", "calls", "in_doubt", "fruitless")] == [1, 3, 2, 3]
    (five,) = bench.database.rows("SELECT calls, in_doubt FROM tallies WHERE at > 0")
    assert tuple(five.values()) == (3, 2)
    after = bench.run(bench.store.task(claim.task_key))
    assert after is not None
    assert (after.usage, after.calls_in_doubt) == (before.usage, before.calls_in_doubt)
    assert bench.run(sums(bench).foldable(KINDS, 100, CLAIM_MS)).silent == []


def test_the_calls_of_a_dead_worker_whose_task_expired(bench: StoreBench) -> None:
    bench.insert(deadline_ms=5_000)
    claim = bench.claim()
    assert bench.step(claim, in_flight=[(0, 0), (0, 1)])
    bench.pass_ms(5_000)
    assert bench.run(bench.store.expire([claim.task_key], OVERDUE, RETENTION_MS)) == ["task"]
    fold(bench)
    bench.pass_ms(CLAIM_MS)
    fold(bench)
    assert [totals(bench)[name] for name in ("calls", "in_doubt")] == [2, 2]
    assert bench.run(bench.store.retry(TaskKey("task"), 0)) is not None
    facts = {"outputs": outputs(0, 1), "completed": 2, "calls_settled": 2, "calls_in_doubt": 2}
    assert bench.step(bench.claim(), Finish(RETENTION_MS), **facts)
    fold(bench)
    assert [totals(bench)[name] for name in ("ended", "calls", "in_doubt")] == [2, 4, 2]


def test_calls_that_may_still_be_settled_are_left_alone(bench: StoreBench) -> None:
    claim = leave_calls(bench)
    bench.pass_ms(CLAIM_MS - 2)
    fold(bench)
    settled = progress(claim, calls_settled=3, outputs=outputs(0, 1), completed=2)
    assert bench.run(bench.store.settle(claim, settled, OVERDUE, RETENTION_MS)) is Status.CANCELLED
    bench.pass_ms(CLAIM_MS)
    fold(bench)
    assert [totals(bench)[name] for name in ("calls", "in_doubt")] == [3, 0]


@pytest.mark.parametrize("folded", [False, True])
def test_an_erasure_adds_the_calls_that_are_out(bench: StoreBench, folded: bool) -> None:
    for name in ("deleted", "expired", "cleared"):
        leave_calls(bench, name)
    if folded:
        fold(bench)
        assert totals(bench)["calls"] == 3
    bench.run(bench.store.erase(TaskKey("deleted")))
    bench.database.rows("UPDATE tasks SET wake_at = wake_at - finished_at + 1, finished_at = 1 WHERE id = 'expired'")
    for _ in range(2):
        bench.run(bench.store.erase_expired(bench.run(bench.store.past_retention(10))))
        bench.run(bench.store.erase_early(Old(bench.time_ms, [TaskKey("cleared")]), keep_input=False))
    assert bench.database.rows("SELECT id FROM tasks") == []
    fold(bench)
    assert [totals(bench)[name] for name in ("ended", "calls", "in_doubt", "fruitless")] == [3, 9, 6, 9]


@pytest.mark.parametrize("folded", [False, True])
def test_the_ladder_and_the_cuts_of_a_bill_that_is_settled_after_the_end(bench: StoreBench, folded: bool) -> None:
    bench.insert(chunks=3, structure=Structure(has_schema=True, gaps=True))
    claim = bench.claim()
    assert bench.step(claim, in_flight=[(0, 0), (0, 1)], answer_counts=AnswerCounts(1, 2, 0))
    assert bench.run(bench.store.cancel(claim.task_key, RETENTION_MS)).changed
    if folded:
        fold(bench)
        assert [totals(bench)[name] for name in ("asked_again", "rejections", "repairs")] == [1, 2, 0]
    cut = [Output(CallKey(0, 0), "output 0", 1, "length")]
    facts = {"calls_settled": 3, "completed": 1, "outputs": cut, "truncated": 1, "answer_counts": AnswerCounts(2, 3, 1)}
    for _ in range(2):
        made = progress(claim, **facts)
        assert bench.run(bench.store.settle(claim, made, OVERDUE, RETENTION_MS)) is Status.CANCELLED
    made = progress(claim, **(facts | {"answer_counts": None, "outputs": [], "calls_settled": 4}))
    assert bench.run(bench.store.settle(claim, made, OVERDUE, RETENTION_MS)) is Status.CANCELLED
    fold(bench)
    figures = totals(bench)
    names = ("calls", "truncated", "asked_again", "rejections", "repairs")
    assert [figures[name] for name in names] == [4, 1, 2, 3, 1]


def test_a_copy_of_a_write_that_lands_after_the_settlement_lowers_no_counter(bench: StoreBench) -> None:
    bench.insert(chunks=3, structure=Structure(has_schema=True, gaps=True))
    claim = bench.claim()
    assert bench.run(bench.store.cancel(claim.task_key, RETENTION_MS)).changed
    cut = [Output(CallKey(0, place), f"output {place}", 1, "length") for place in (0, 1)]
    older: dict[str, Any] = {"outputs": cut[:1], "truncated": 1, "answer_counts": AnswerCounts(1, 2, 1, 0.9)}
    assert not bench.step(claim, calls_settled=3, completed=1, **older)
    settled = progress(
        claim, calls_settled=6, completed=2, outputs=cut, truncated=2, answer_counts=AnswerCounts(2, 4, 2, 0.5)
    )
    assert bench.run(bench.store.settle(claim, settled, OVERDUE, RETENTION_MS)) is Status.CANCELLED
    assert not bench.step(claim, calls_settled=3, completed=1, **older)
    (row,) = bench.database.rows("SELECT truncated, reasks, rejected, repaired, coverage, calls_settled FROM tasks")
    assert tuple(row.values()) == (2, 2, 4, 2, 0.5, 6)


def test_dead_letters(bench: StoreBench) -> None:
    bench.insert()
    assert bench.run(bench.store.dead_letter(TaskKey("task"), Failure(TaskCode.DEAD_LETTERED, "gone", True), 100_000))
    fold(bench, kinds=[100_000])
    assert (ended(bench), totals(bench)["dead_letters"]) == ({"failed": 1}, 1)


@pytest.mark.parametrize("code", TaskCode)
def test_each_failed_task_counts_for_its_code(bench: StoreBench, code: TaskCode) -> None:
    for name in ("one", "two"):
        bench.insert(name)
        assert bench.step(bench.claim(name), Fail(RETENTION_MS, Failure(code, "why", True)), failed=1)
        fold(bench)
    figures = totals(bench)
    assert {name: figures[name] for name in FAILED_WITH.values() if figures[name]} == {f"failed_{code}": 2}


def test_samples_and_what_is_forgotten(bench: StoreBench) -> None:
    bench.insert("a")
    bench.insert("b")
    bench.claim("b")
    bench.pass_ms(7_000)
    for _ in range(3):
        fold(bench)
    sample = {"at": bench.time_ms // 300_000 * 300_000, "pending": 1, "processing": 1, "oldest_ms": 7_001}
    assert bench.database.rows("SELECT * FROM samples") == [sample]
    complete(bench, "c")
    fold(bench)
    assert bench.database.rows("SELECT max(until) AS until FROM folds") == [{"until": bench.time_ms - 1}]
    assert bench.database.rows("SELECT at, status FROM tallies WHERE at > 0") == [
        {"at": sample["at"], "status": "completed"}
    ]
    bench.pass_ms(round(limits.HISTORY_SECONDS * 1000) + 300_000)
    fold(bench)
    assert len(bench.database.rows("SELECT * FROM samples")) == 1
    assert bench.database.rows("SELECT * FROM tallies WHERE at > 0") == []
    assert ended(bench) == {"completed": 1}


def test_a_sample_has_the_age_of_the_oldest_task_that_waits(bench: StoreBench) -> None:
    bench.insert("a")
    bench.claim("a")
    for name in ("b", "c"):
        bench.pass_ms(3_000)
        bench.insert(name)
    fold(bench)
    (sample,) = bench.database.rows("SELECT pending, processing, oldest_ms FROM samples")
    assert sample == {"pending": 2, "processing": 1, "oldest_ms": 3_001}


def test_a_tasks_own_rows_do_not_change(bench: StoreBench) -> None:
    for number in range(50):
        complete(bench, f"t{number}")
        bench.pass_ms(1)
    fold(bench)  # the fold writes the backlog's sample and the sums
    before = bench.database.rows("SELECT * FROM tasks ORDER BY id")
    for number in range(50, 100):
        complete(bench, f"t{number}")
        bench.pass_ms(1)
    _, written = sums(bench)._database.rows
    fold(bench)
    after = {row["id"]: row for row in bench.database.rows("SELECT * FROM tasks")}
    assert all(after[row["id"]] == row for row in before)
    assert sums(bench)._database.rows[1] - written == 3  # the fold writes two sums and its position
    assert ended(bench) == {"completed": 100}
