"""Structured tasks from submission to end: with the demo's outputs, with gaps, and with a retry of the gaps."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.features.gaps.kind_api import retry_gaps
from src.features.structured.schema.check import faults_of
from src.features.structured.schema.schema import parse_schema
from src.kernel.api.router import handle
from src.kernel.domain.settings import Settings
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Reduce, Status, Task, TaskOptions
from src.kernel.run.context import Ended
from src.kernel.store.admission import LimitReached
from src.kernel.store.claims import CallKey, Continue, FailedCall, Finish, Tries
from src.kernel.store.options import AnswerCounts
from src.kernel.work.submission import BudgetTooSmall, Submitted, TaskRequest
from tests.conformance.cases.steps import outputs, progress
from tests.support.api_bench import ApiBench, BenchRequest
from tests.support.event_streams import read_events
from tests.support.store_bench import FAILURE
from tests.support.worker_bench import HOST

PAID = Settings(provider="demo", chunk_chars=10, plan="paid")
TEXT = "Anna met Bo in Paris. Bo went home to Oslo by train. Anna stayed there."
SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": "array", "items": {"type": "string"}}, "count": {"type": "integer"}},
    "required": ["people", "count"],
    "additionalProperties": False,
}


@pytest.fixture
def bench() -> Iterator[ApiBench]:
    made = ApiBench(settings=PAID)
    yield made
    made.close()


def submitted(bench: ApiBench, reduce: Reduce = Reduce.CONCAT, **structure: Any) -> Task:
    schema = SCHEMA if structure.get("has_schema") else None
    request = TaskRequest(
        text=TEXT,
        options=TaskOptions(reduce=reduce, structure=Structure(**structure)),
        output_schema=None if schema is None else json.dumps(schema),
        join_rules={"/count": "sum"} if schema and reduce is Reduce.CONCAT else {},
    )
    made = bench.run(bench.api.submission.submit("local", request))
    assert isinstance(made, Submitted)
    return made.task


@pytest.mark.parametrize("reduce", Reduce)
def test_the_demo_fills_the_schema(bench: ApiBench, reduce: Reduce) -> None:
    task = submitted(bench, reduce, has_schema=True)
    assert task.source is not None
    assert task.source.output_schema == SCHEMA
    assert bench.run(bench.worker.run(task.task_key, HOST)) == Ended(Status.COMPLETED)
    done = bench.run(bench.store.task(task.task_key))
    assert done.usage.model_calls == done.usage.minimum_calls
    values = done.value if reduce is Reduce.NONE else [done.value]
    assert not [fault for value in values for fault in faults_of(parse_schema(SCHEMA, strict=True), value)]
    texts = done.result if reduce is Reduce.NONE else [done.result]
    assert [json.loads(text) for text in texts] == list(values)
    assert done.source == task.source


def with_a_gap(bench: ApiBench) -> Task:
    task = submitted(bench, gaps=True)
    claim = bench.claim(task.id)
    others = [at for at in range(task.total) if at != 1]
    facts = {"completed": len(others), "failed": 1}
    gap = FailedCall(CallKey(0, 1), Tries(1, 1), True, FAILURE, gap_chars=9)
    rest = progress(claim, outputs=outputs(*others), failures=[gap], answer_counts=AnswerCounts(coverage=0.5), **facts)
    assert bench.run(bench.store.step(claim, rest, Continue(100_000_000)))
    assert bench.run(bench.store.step(claim, progress(claim, **facts), Finish(1_000_000, gaps=True)))
    return task


def stream(bench: ApiBench, task: Task, after: str = "") -> list[Any]:
    url = f"http://localhost:8787/api/tasks/{task.id}/events{after and f'?after={after}'}"

    async def whole() -> str:
        reply = await handle(BenchRequest("GET", url), bench.api, CATALOGUE)
        assert reply.parts is not None, reply
        return "".join([part async for part in reply.parts])

    return [event for event in read_events(bench.run(whole())) if event.name in {"status", "chunk", "gap", "end"}]


def test_a_gap_is_an_event_in_its_chunks_place(bench: ApiBench) -> None:
    task = with_a_gap(bench)
    events = stream(bench, task)
    assert [event.name for event in events[:5]] == ["status", "status", "chunk", "gap", "chunk"]
    assert [event.id for event in events[2:5]] == ["0-4", "0-7", "0-10"]
    gap = events[3].json
    assert (gap["chunk"], gap["code"]) == (1, "model_refused")
    assert len([event for event in events if event.name == "chunk"]) == task.total - 1
    assert events[-1].name == "end"
    for at in (2, 3):
        rest = stream(bench, task, events[at].id)
        assert [(event.id, event.data) for event in rest] == [(event.id, event.data) for event in events[at + 1 :]]


def test_a_retry_of_gaps_is_submitted_once(bench: ApiBench) -> None:
    old = with_a_gap(bench)
    made = bench.run(retry_gaps(bench.api.submission, old.task_key))
    assert isinstance(made, Submitted)
    assert (made.replayed, made.task.retry_of, made.task.status) == (False, old.task_key, Status.PENDING)
    again = bench.run(retry_gaps(bench.api.submission, old.task_key))
    assert (again.replayed, again.task.task_key) == (True, made.task.task_key)
    bench.settle()
    assert bench.run(bench.worker.run(made.task.task_key, HOST)) == Ended(Status.COMPLETED)
    task = bench.run(bench.store.task(made.task.task_key))
    assert (task.completed, task.failed, task.usage.model_calls, task.usage.minimum_calls) == (task.total, 0, 1, 1)
    unchanged = bench.run(bench.store.task(old.task_key))
    assert (unchanged.failed, unchanged.retry_of) == (1, None)


def test_what_cannot_be_retried_so_is_refused(bench: ApiBench) -> None:
    whole = submitted(bench, gaps=True)
    assert bench.run(retry_gaps(bench.api.submission, whole.task_key)) is None
    old = with_a_gap(bench)
    with pytest.raises(BudgetTooSmall):
        bench.run(retry_gaps(bench.api.submission, old.task_key, 0))
    bench.limit(tasks_in_flight_most=1)
    assert isinstance(bench.run(retry_gaps(bench.api.submission, old.task_key)), LimitReached)
