"""Gaps of chunks that fail for good: which failures leave a gap, when the task fails instead, and what is kept."""

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from src.kernel.calls.model_health import ModelHealth, Patience
from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.codes import TaskCode
from src.kernel.domain.errors import (
    ModelError,
    ModelQuotaExhausted,
    ModelRefused,
    ModelReplyMalformed,
    ModelUnavailable,
    StructuredOutputUnsupported,
)
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.structure import Gap, Structure
from src.kernel.domain.task import Failure, Reduce, Status, Task, TaskOptions
from src.kernel.run.context import Ended, Released
from src.kernel.run.failed_calls import Gaps
from src.kernel.run.ledger import Ledger
from src.kernel.store.claims import CallKey, FailedCall, Tries
from src.kernel.store.options import AnswerCounts
from tests.support.worker_bench import HOST, WorkerBench
from tests.unit.kernel.run.test_ledger import claim

WITH_GAPS: dict[str, Any] = {"structure": Structure(gaps=True)}
KEY = TaskKey("task")


class Dies(BaseException):
    """The error with which a test kills a worker."""


REFUSED = ModelRefused("the provider answered 400", of_call=True)
REFUSED_FAILURE = Failure(TaskCode.MODEL_REFUSED, "the provider answered 400", False)


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench(concurrency=1)
    yield made
    made.close()


def failing(error: ModelError, *numbers: int) -> Any:
    return lambda call, number: error if number in numbers else None


def ended(bench: WorkerBench) -> Task:
    outcome = bench.run()
    while isinstance(outcome, Released):
        sleep(bench, outcome.delay_seconds + 1)
        outcome = bench.run()
    assert isinstance(outcome, Ended), outcome
    return bench.task()


def sleep(bench: WorkerBench, seconds: float) -> None:
    bench.do(asyncio.sleep(seconds))


def all_out(
    count: int, attempts: int = 3, patience_seconds: float = 3600, **facts: Any
) -> tuple[Ledger, list[CallKey]]:
    """Return the ledger of a task with gaps whose calls are all in flight since time 0, and the calls."""
    keys = [CallKey(0, place) for place in range(count)]
    given = {"total": count, "characters": 10 * count, "options": TaskOptions(structure=Structure(gaps=True))}
    ledger = Ledger(claim(**given | facts), attempts, Patience(ModelHealth(), patience_seconds, now=0.0))
    ledger.add(keys)
    ledger.start(ledger.startable(0.0, count), 0.0)
    return ledger, keys


def kept_input(bench: WorkerBench) -> str:
    ((text,),) = [row.values() for row in bench.database.rows("SELECT input FROM texts")]
    return text


def test_a_task_completes_without_a_chunk_that_was_refused(bench: WorkerBench) -> None:
    bench.insert(4, **WITH_GAPS)
    bench.model.act = failing(REFUSED, 2)
    task = ended(bench)
    assert (task.status, task.completed, task.failed, task.failure) == ("completed", 3, 1, None)
    assert task.gaps == (Gap(1, 1, 2, TaskCode.MODEL_REFUSED),)
    assert task.coverage == 0.75
    assert task.result == "<x>\n\n<x>\n\n<x>"
    assert kept_input(bench) == "xxxx"
    assert (task.usage.model_calls, task.usage.minimum_calls) == (4, 4)


@pytest.mark.parametrize(
    "error",
    [
        ModelRefused("the provider answered 401"),
        ModelRefused("the provider answered 404"),
        ModelQuotaExhausted("402"),
        StructuredOutputUnsupported("400"),
    ],
    ids=["credentials", "model", "quota", "schema"],
)
def test_what_concerns_all_calls_ends_the_task(bench: WorkerBench, error: ModelError) -> None:
    bench.insert(4, **WITH_GAPS)
    bench.model.act = failing(error, 2)
    task = ended(bench)
    assert (task.status, bench.failure.code, task.gaps) == ("failed", error.code, ())
    assert len(bench.model.calls) == 2


@pytest.mark.parametrize(
    ("terms", "calls", "code"),
    [({"max_calls": 3}, 3, "budget_exhausted"), ({"deadline_ms": 2_500}, 3, "deadline_exceeded")],
)
def test_budget_and_deadline_end_a_task_with_a_gap(
    bench: WorkerBench, terms: dict[str, Any], calls: int, code: str
) -> None:
    bench.insert(5, **(terms | WITH_GAPS))
    bench.model.act = failing(REFUSED, 2)
    task = ended(bench)
    assert (task.status, bench.failure.code, [gap.chunk for gap in task.gaps]) == ("failed", code, [1])
    assert len(bench.model.calls) == calls


def test_the_end_of_the_patience_ends_the_task(make):
    bench = make(concurrency=1, patience_seconds=60.0)
    bench.insert(3, **WITH_GAPS)
    bench.model.act = lambda call, number: ModelUnavailable("503") if number > 1 else None
    task = ended(bench)
    assert (task.status, bench.failure.code, task.gaps) == ("failed", "model_unavailable", ())


def test_a_poisoned_chunk_leaves_a_gap() -> None:
    ledger, keys = all_out(4, tried={CallKey(0, 3): Tries(0, 9, 9)})
    for key in keys[:3]:
        ledger.succeeded(key, ModelReply("fine", 1, 1), now=1.0)
    ledger.failed(keys[3], ModelUnavailable("500"), 2.0, 0.0, chars=10)
    assert (ledger.failure, keys[3] in ledger.gaps, ledger.gaps.coverage) == (None, True, 0.75)
    told = ledger.progress([], 4)
    assert ([(one.final, one.gap_chars) for one in told.failures], told.failed) == ([(True, 10)], 1)
    assert told.answer_counts == AnswerCounts(0, 0, 0, 0.75)


def test_coverage_is_of_characters_and_not_of_chunks() -> None:
    options = TaskOptions(structure=Structure(gaps=True, max_gap_share=0.2))
    ledger, keys = all_out(4, attempts=1, patience_seconds=0, characters=100, options=options)
    for key in keys[:3]:
        ledger.succeeded(key, ModelReply("fine", 1, 1), now=1.0)
    ledger.failed(keys[3], REFUSED, 2.0, 0.0, chars=10)
    assert (ledger.failure, ledger.gaps.coverage) == (None, 0.9)


@pytest.mark.parametrize("last", [REFUSED, ModelReplyMalformed("no text")], ids=["refused", "malformed"])
def test_a_gap_is_not_called_again_for_an_earlier_failure(last: ModelError) -> None:
    """If a failure was held back when its chunk failed for good, the held failure does not count later."""
    ledger, keys = all_out(6, attempts=1)
    ledger.failed(keys[0], ModelUnavailable("503"), 1.0, 0.0, chars=10)
    ledger.settle(1.0)
    ledger.start(ledger.startable(30.0, 1), 30.0)
    ledger.failed(keys[0], last, 31.0, 0.0, chars=10)
    assert keys[0] in ledger.gaps
    for key in keys[1:]:
        ledger.succeeded(key, ModelReply("fine", 1, 1), now=32.0)
    ledger.settle(33.0)
    assert ledger.next_at(33.0) is None
    told = ledger.progress([], 6)
    assert [(one.key, one.final, one.failure.code) for one in told.failures] == [(keys[0], True, last.code)]
    assert (told.failed, ledger.gaps.coverage) == (1, 50 / 60)


def test_without_any_output_the_task_fails_with_the_commonest_cause(bench: WorkerBench) -> None:
    bench.insert(3, **(WITH_GAPS | {"structure": Structure(gaps=True, max_gap_share=1.0)}))
    bench.model.act = failing(REFUSED, 1, 2, 3)
    task = ended(bench)
    assert (task.status, bench.failure.code, task.failed) == ("failed", "model_refused", 3)
    assert task.gaps == ()


def test_too_many_gaps_fail_the_task_and_no_further_call_is_made(bench: WorkerBench) -> None:
    bench.insert(5, **WITH_GAPS)
    bench.model.act = failing(REFUSED, 2, 3, 4)
    task = ended(bench)
    assert (bench.failure.code, task.completed, task.failed, len(bench.model.calls)) == ("too_many_gaps", 1, 3, 4)
    assert bench.failure.retryable
    assert "model_refused" in bench.failure.message
    assert kept_input(bench) == "xxxxx"


@pytest.mark.parametrize("gaps_first", [True, False])
def test_too_many_gaps_have_one_code_whichever_call_ends_first(gaps_first: bool) -> None:
    ledger, keys = all_out(5, attempts=5)
    codes = []
    for key in keys if gaps_first else reversed(keys):
        if key in keys[:3]:
            ledger.failed(key, REFUSED, 1.0, 0.0, chars=10)
        else:
            ledger.succeeded(key, ModelReply("fine", 1, 1), now=1.0)
        codes.append(ledger.failure and ledger.failure.code)
    assert set(codes) == {None, "too_many_gaps"}
    assert codes[-1] == "too_many_gaps"


def test_exactly_the_share_may_be_gone_whatever_its_decimals() -> None:
    """Each share in hundredths counts as the client wrote it, although 0.29 × 100 is less than 29 for floats."""
    for percent in range(1, 100):
        options = TaskOptions(structure=Structure(gaps=True, max_gap_share=percent / 100))
        found = []
        for chars in (percent, percent + 1):
            gaps = Gaps(claim(characters=100, options=options), always=False)
            gaps.add(FailedCall(CallKey(0, 0), Tries(1, 1), True, REFUSED_FAILURE, gap_chars=chars))
            found.append(gaps.too_many)
        assert found == [False, True], percent


def test_a_retry_of_a_failed_task_begins_its_gaps_anew(bench: WorkerBench) -> None:
    bench.insert(5, **WITH_GAPS)
    bench.model.act = failing(REFUSED, 2, 3, 4)
    assert ended(bench).status == "failed"
    assert bench.do(bench.store.retry(KEY, 1000)) is not None
    task = ended(bench)
    assert (task.status, task.completed, task.failed, task.coverage) == ("completed", 5, 0, None)


def test_a_later_claim_knows_the_gaps(bench: WorkerBench) -> None:
    bench.insert(4, **WITH_GAPS)

    def act(call: ModelCall, number: int) -> Any:
        if number == 3:
            raise Dies
        return REFUSED if number == 1 else None

    bench.model.act = act
    with pytest.raises(Dies):
        bench.run()
    sleep(bench, bench.settings.lease_seconds * 4)
    task = ended(bench)
    assert (task.status, [gap.chunk for gap in task.gaps], task.coverage) == ("completed", [0], 0.75)
    assert len(bench.model.calls) == 5


def test_a_merge_goes_without_a_gap(bench: WorkerBench) -> None:
    bench.insert(3, Reduce.MERGE, **WITH_GAPS)
    bench.model.act = lambda call, number: REFUSED if number == 2 else f"out {number}"
    task = ended(bench)
    assert (task.status, task.usage.minimum_calls, task.usage.model_calls) == ("completed", 4, 4)
    assert bench.model.calls[3][1].user == "out 1\n\nout 3"
    assert task.result == "out 4"


def test_a_merge_of_nothing_but_gaps_is_not_called(bench: WorkerBench) -> None:
    bench.insert(8, Reduce.MERGE, **WITH_GAPS)
    bench.model.act = lambda call, number: REFUSED if number in {3, 4} else f"{number:03}" + "x" * 1200
    task = ended(bench)
    assert task.status == "completed"
    rows = bench.database.rows("SELECT level, ends FROM merges ORDER BY level")
    assert rows[0] == {"level": 1, "ends": "[2,4,6,8]"}
    merged = [call.user[:3] for _, call in bench.model.calls[8:]]
    assert merged[:3] == ["001", "005", "007"]
    assert task.usage.model_calls == task.usage.minimum_calls == 8 + 3 + len(rows[1:]) * 2 - 1 - (len(rows) == 2)


def test_a_retry_of_a_failed_merge_keeps_the_gaps_below_it(bench: WorkerBench) -> None:
    bench.insert(8, Reduce.MERGE, **WITH_GAPS)
    bench.model.act = lambda call, number: REFUSED if number in {3, 10} else f"{number:03}" + "x" * 1200
    assert ended(bench).status == "failed"
    assert bench.do(bench.store.retry(KEY, 1000)) is not None
    assert bench.task().failed == 1
    task = ended(bench)
    assert (task.status, task.completed, [gap.chunk for gap in task.gaps]) == ("completed", 7, [2])
    assert task.coverage == 0.875
    merged = [call.user[:3] for _, call in bench.model.calls[8:]]
    assert merged[:5] == ["001", "004", "004", "005", "007"]


def test_a_merge_that_is_not_planned_counts_as_one_call(bench: WorkerBench) -> None:
    bench.insert(3, Reduce.MERGE)
    seen = list[tuple[int, int]]()

    async def polled() -> object:
        running = asyncio.ensure_future(bench.worker().run(TaskKey("task"), HOST))
        while not running.done():
            task = await bench.store.task(TaskKey("task"))
            assert task is not None
            seen.append((task.completed, task.usage.minimum_calls))
            await asyncio.sleep(0.5)
        return running.result()

    assert bench.do(polled()) == Ended(Status.COMPLETED)
    assert {completed for completed, _ in seen} > {0, 1, 2}
    assert {minimum for _, minimum in seen} == {4}


def looked_at(chunks: int, monkeypatch: pytest.MonkeyPatch) -> int:
    looks, all_done = [0], Ledger.all_done

    def counting(ledger: Ledger, keys: Iterable[CallKey]) -> bool:
        def taken() -> Iterator[CallKey]:
            for key in keys:
                looks[0] += 1
                yield key

        return all_done(ledger, taken())

    monkeypatch.setattr(Ledger, "all_done", counting)
    made = WorkerBench(concurrency=1)
    made.insert(chunks, Reduce.MERGE)
    assert made.run() == Ended(Status.COMPLETED)
    made.close()
    monkeypatch.undo()
    return looks[0]


def test_a_look_whether_a_level_is_done_costs_the_same_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_at(160, monkeypatch) < 2.2 * looked_at(80, monkeypatch)
