"""Answers for a schema: each is checked, repaired, asked for again or given up, and each call is billed."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from src.kernel.calls.protocol import ModelCall, ModelReply
from src.kernel.domain.errors import ModelUnavailable
from src.kernel.domain.ids import TaskKey
from src.kernel.domain.structure import Rejection, Structure
from src.kernel.domain.task import Reduce, Status
from src.kernel.run.context import Ended, Released
from tests.support.worker_bench import WorkerBench
from tests.unit.kernel.run.test_gaps import Dies

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
GOOD, FENCED, BAD = '{"n": 1}', '```json\n{"n": 2,}\n```', '{"n": "one"}'
FORMED: dict[str, Any] = {
    "output_schema": json.dumps(SCHEMA),
    "join_rules": {"/n": "last"},
    "structure": Structure(has_schema=True),
}


@pytest.fixture
def bench() -> Iterator[WorkerBench]:
    made = WorkerBench()
    yield made
    made.close()


def outputs(bench: WorkerBench) -> list[str | None]:
    return [chunk.output for chunk in bench.do(bench.store.chunks(TaskKey("task")))]


def says(*answers: Any) -> Any:
    return lambda call, number: answers[number - 1]


def test_a_repaired_output_costs_no_call(bench: WorkerBench) -> None:
    bench.insert(1, **FORMED)
    bench.model.act = says(FENCED)
    assert bench.run() == Ended(Status.COMPLETED)
    assert outputs(bench) == ['{"n":2}']
    assert (bench.task().usage.model_calls, bench.task().usage.repaired) == (1, 1)


def test_a_model_is_asked_again_with_its_answer_and_the_faults(bench: WorkerBench) -> None:
    bench.insert(1, **FORMED)
    bench.model.act = says(BAD, GOOD)
    assert bench.run() == Ended(Status.COMPLETED)
    (_, first), (_, again) = bench.model.calls
    assert first.form is not None
    assert again.form is not None
    assert again == ModelCall(first.system, first.user, first.model, form=again.form, task_key=TaskKey("task"))
    assert again.form.rejected is not None
    assert again.form.rejected.answer == BAD
    ((pointer, _expected),) = again.form.rejected.faults
    assert pointer == "/n"
    task = bench.task()
    assert (task.usage.model_calls, task.usage.minimum_calls, task.usage.in_doubt) == (2, 1, 0)
    assert (task.usage.reasks, task.usage.rejected, task.usage.repaired) == (1, 1, 0)
    assert (task.usage.input_tokens, task.usage.output_tokens) == (20, 10)
    assert task.last_error is None


@pytest.mark.parametrize("reasks", [0, 1, 3])
def test_a_call_is_made_again_at_most_so_often(reasks: int) -> None:
    bench = WorkerBench(reasks=reasks)
    bench.insert(1, **FORMED)
    bench.model.act = lambda call, number: BAD
    assert bench.run() == Ended(Status.FAILED)
    task = bench.task()
    assert (bench.failure.code, bench.failure.retryable) == ("invalid_output", True)
    assert BAD not in bench.failure.message
    assert "/n" not in bench.failure.message
    assert (task.usage.model_calls, task.usage.reasks, task.usage.rejected) == (reasks + 1, reasks, reasks + 1)
    (chunk,) = bench.do(bench.store.chunks(task.task_key))
    assert isinstance(chunk.rejected, Rejection)
    assert (chunk.rejected.answer, [pointer for pointer, _ in chunk.rejected.faults]) == (BAD, ["/n"])
    bench.close()


def test_an_output_whose_number_no_sum_can_hold_is_rejected(bench: WorkerBench) -> None:
    """An output whose sum would exceed the largest number is rejected, so a completed task always has a result."""
    schema = SCHEMA | {"properties": {"n": {"type": "number"}}}
    bench.insert(3, **(FORMED | {"output_schema": json.dumps(schema), "join_rules": {"/n": "sum"}}))
    bench.model.act = lambda call, number: '{"n": 1e300}' if call.form and call.form.rejected else '{"n": 1e308}'
    assert bench.run() == Ended(Status.COMPLETED)
    task = bench.task()
    assert (task.value, task.usage.rejected) == ({"n": 3e300}, 3)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_output_that_was_cut_off_is_not_asked_for_again(bench: WorkerBench, reason: str) -> None:
    bench.insert(1, **FORMED)
    bench.model.act = says(ModelReply('{"n": 1', 10, 5, reason))
    assert bench.run() == Ended(Status.FAILED)
    task = bench.task()
    assert (bench.failure.code, task.truncated, task.usage.model_calls) == ("output_truncated", 0, 1)
    assert ("maxOutputTokens" in bench.failure.message) == (reason == "length")


def test_the_rung_outlasts_other_failures_of_the_call(bench: WorkerBench) -> None:
    bench.insert(1, **FORMED)
    bench.model.act = says(BAD, ModelUnavailable("503"), BAD)
    assert bench.run() == Ended(Status.FAILED)
    task = bench.task()
    assert (task.usage.model_calls, task.usage.reasks, task.usage.rejected) == (3, 2, 2)
    forms = [call.form for _, call in bench.model.calls]
    assert all(form is not None and form.rejected is not None for form in forms[1:])


def test_a_crash_repeats_only_what_was_in_flight(bench: WorkerBench) -> None:
    bench.insert(1, **FORMED)

    def act(call: ModelCall, number: int) -> Any:
        if number == 2:
            raise Dies
        return BAD

    bench.model.act = act
    with pytest.raises(Dies):
        bench.run()
    bench.do(asyncio.sleep(bench.settings.lease_seconds * 4))
    outcome = bench.run()
    while isinstance(outcome, Released):
        outcome = bench.run()
    assert outcome == Ended(Status.FAILED)
    task = bench.task()
    assert len(bench.model.calls) == 3
    assert all(call.form is not None for _, call in bench.model.calls)
    assert bench.model.calls[2][1] == bench.model.calls[1][1]
    assert (task.usage.model_calls, task.usage.in_doubt, task.usage.rejected) == (3, 1, 2)


def test_merges_are_held_to_the_schema_and_end_the_task(bench: WorkerBench) -> None:
    bench.insert(2, Reduce.MERGE, **(FORMED | {"structure": Structure(has_schema=True, gaps=True)}))
    bench.model.act = says(GOOD, GOOD, BAD, BAD)
    assert bench.run() == Ended(Status.FAILED)
    task = bench.task()
    assert bench.failure.code == "invalid_output"
    assert (task.usage.model_calls, task.completed, task.failed) == (4, 2, 0)
    assert all(call.form is not None for _, call in bench.model.calls)


def test_an_ask_again_keeps_to_the_budget(bench: WorkerBench) -> None:
    bench.insert(1, max_calls=1, **FORMED)
    bench.model.act = lambda call, number: BAD
    assert bench.run() == Ended(Status.FAILED)
    assert bench.failure.code == "budget_exhausted"
    assert len(bench.model.calls) == 1


def test_a_retry_begins_the_ladder_anew(bench: WorkerBench) -> None:
    """After a client's retry a chunk's first call does not repeat the answer that was rejected before the retry."""
    bench.insert(1, **FORMED)
    bench.model.act = says(BAD, BAD, BAD, GOOD)
    assert bench.run() == Ended(Status.FAILED)
    key = bench.task().task_key
    assert bench.do(bench.store.retry(key, 1000)) is not None
    assert bench.run() == Ended(Status.COMPLETED)
    forms = [call.form for _, call in bench.model.calls]
    assert [form is not None and form.rejected is not None for form in forms] == [False, True, False, True]
    assert (bench.task().usage.rejected, bench.task().usage.reasks) == (3, 2)


def test_a_long_rejected_answer_is_cut(bench: WorkerBench) -> None:
    bench.insert(1, **FORMED)
    bench.model.act = lambda call, number: "x" * 9_000
    assert bench.run() == Ended(Status.FAILED)
    (chunk,) = bench.do(bench.store.chunks(bench.task().task_key))
    assert chunk.rejected is not None
    assert chunk.rejected.answer == "x" * 8_000
    form = bench.model.calls[1][1].form
    assert form is not None
    assert form.rejected is not None
    assert form.rejected.answer == chunk.rejected.answer


def test_lanes_carry_the_form_and_their_worker_judges(bench: WorkerBench) -> None:
    bench.insert(12, **FORMED)
    bench.model.act = lambda call, number: BAD if call.form is None or number <= 3 else GOOD
    assert bench.run(bench.laned_host()) == Ended(Status.COMPLETED)
    assert bench.task().usage.rejected == 3


def test_a_plain_task_writes_nothing_of_it(bench: WorkerBench) -> None:
    bench.insert(2)
    bench.model.act = lambda call, number: BAD
    assert bench.run() == Ended(Status.COMPLETED)
    assert outputs(bench) == [BAD, BAD]
    (row,) = bench.database.rows("SELECT structured, structured_fence, coverage FROM tasks")
    assert set(row.values()) == {None}
