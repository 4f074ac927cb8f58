"""Structured tasks and gaps from submission to end, as the native API shows them."""

import asyncio
import json
from typing import Any

import pytest

from src.composition import CATALOGUE
from src.features.gaps.kind_api import retry_gaps
from src.features.structured.schema.check import faults_of
from src.features.structured.schema.schema import parse_schema
from src.kernel.api.router import handle
from src.kernel.domain import limits
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.keys import Scope
from src.kernel.domain.settings import Settings
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Reduce, Status, Task, TaskOptions
from src.kernel.run.context import Ended
from src.kernel.store.admission import LimitReached
from src.kernel.store.claims import CallKey, Continue, FailedCall, Finish, Tries
from src.kernel.store.options import AnswerCounts
from src.kernel.work.submission import BudgetTooSmall, Submitted, TaskRequest
from tests.conformance.cases.steps import outputs, progress
from tests.support.api_bench import TEXTS, WEBHOOK_KEY, ApiBench, BenchRequest, bearer, data, object_of
from tests.support.event_streams import read_events
from tests.support.scripted_model import ScriptedModel
from tests.support.store_bench import FAILURE
from tests.support.worker_bench import HOST

TEXT = "first 1\n\nsecond 2\n\nthird 3\n\nfourth 4"  # the task's text has four chunks of at most ten characters
SCHEMA = object_of(said=TEXTS)

PLAIN_USAGE = ["modelCalls", "minimumCalls", "inDoubt", "inputTokens", "outputTokens", "cachedInputTokens", "cost"]


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def bench(model: ScriptedModel) -> ApiBench:
    return ApiBench(settings=Settings(provider="demo", chunk_chars=10, webhook_key=WEBHOOK_KEY), provider=model)


def run(bench: ApiBench, **fields: Any) -> dict[str, Any]:
    return finish(bench, bench.submit(TEXT, **fields)["id"])


def finish(bench: ApiBench, task_id: str) -> dict[str, Any]:
    task: dict[str, Any] = bench.work_on(task_id)
    assert task["terminal"], task
    return task


def read(bench: ApiBench, task_id: str, query: str = "") -> Any:
    return data(bench.call("GET", f"/api/tasks/{task_id}{query}"))


def test_concat_shows_the_joined_value(bench: ApiBench) -> None:
    model: Any = bench.api.provider
    model.says = {"first": ['```json\n{"said": ["1"]}\n```'], "second": ["no JSON", '{"said": ["2"]}']}
    task = run(bench, outputSchema=SCHEMA)
    value = {"said": ["1", "2", "third 3", "fourth 4"]}
    assert task["result"] == {"output": json.dumps(value, separators=(",", ":")), "value": value}
    assert {name: task["usage"][name] for name in ("modelCalls", "reasks", "rejected", "repaired")} == {
        "modelCalls": task["progress"]["total"] + 1,
        "reasks": 1,
        "rejected": 1,
        "repaired": 1,
    }
    assert not {"gaps", "coverage", "retryOf"} & task.keys()
    (listed,) = data(bench.call("GET", "/api/tasks"))["tasks"]
    assert (listed["result"], listed["usage"]) == (None, task["usage"])


def test_others_have_turns_while_a_value_is_joined(bench: ApiBench, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0

    async def turn(seconds: float) -> None:
        nonlocal turns
        assert seconds >= limits.TIMER_SECONDS_LEAST  # a shorter delay is a microtask
        turns += 1

    model: Any = bench.api.provider
    said = [f'{{"said": [{",".join(f"{number}" for number in range(at, at + 20_000))}]}}' for at in (1, 20_001, 1)]
    model.says = {name: [text] for name, text in zip(("first", "second", "third"), said, strict=True)}
    numbers = SCHEMA | {"properties": {"said": {"type": "array"}}}
    model.says["fourth"] = ['{"said": []}']
    for at_once in (limits.ANSWER_CHARS_AT_ONCE, 20):
        monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", at_once)
        task_id = run(bench, outputSchema=numbers, join={"/said": "union"}, strict=False)["id"]
        turns, before = 0, asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", turn)
        assert read(bench, task_id)["result"]["value"] == {"said": list(range(1, 40_001))}
        monkeypatch.setattr(asyncio, "sleep", before)
        assert turns >= 60_000 // 7_000
        model.says = {name: [text] for name, text in zip(("first", "second", "third"), said, strict=True)}
        model.says["fourth"] = ['{"said": []}']


def test_a_gap_is_shown(bench: ApiBench) -> None:
    model: Any = bench.api.provider
    model.says = {"second": ['{"said": 7}']}
    task = run(bench, outputSchema=SCHEMA, onChunkFailure="gap")
    assert (task["status"], task["progress"]["failed"]) == ("completed", 1)
    (gap,) = task["gaps"]
    assert gap == {"chunk": 1, "start": 9, "end": 19, "code": "invalid_output"}
    assert task["coverage"] == pytest.approx(1 - 10 / len(TEXT))
    assert "second" not in task["result"]["output"]
    chunks = read(bench, task["id"], "?include=chunks")["chunks"]
    assert [chunk["status"] for chunk in chunks] == ["completed", "gap", "completed", "completed"]
    assert chunks[1]["rejected"] == {"output": '{"said": 7}', "errors": [{"pointer": "/said", "expected": "an array"}]}
    assert chunks[1]["error"]["code"] == "invalid_output"
    assert data(bench.call("GET", f"/api/tasks/{task['id']}/chunks"))["chunks"] == chunks
    assert data(bench.call("GET", f"/api/tasks/{task['id']}/chunks?limit=9"))["chunks"] == chunks
    (listed,) = data(bench.call("GET", "/api/tasks"))["tasks"]
    assert listed["coverage"] == task["coverage"]
    assert "gaps" not in listed


def test_a_gap_is_without_its_overlap(bench: ApiBench) -> None:
    """A gap begins where the chunk before ends, so that coverage is exact."""
    model: Any = bench.api.provider
    model.says = {"second": [ModelRefused("bad", of_call=True)], "fourth": [ModelRefused("bad", of_call=True)]}
    task = run(bench, onChunkFailure="gap", maxGapShare=0.9, chunk={"maxChars": 13, "overlapChars": 3})
    chunks = read(bench, task["id"], "?include=chunks")["chunks"]
    assert [chunk["start"] for chunk in chunks] == [0, 6, 16, 25]
    assert [(gap["chunk"], gap["start"], gap["end"]) for gap in task["gaps"]] == [(1, 9, 19), (3, 28, len(TEXT))]
    assert task["coverage"] == pytest.approx(1 - (10 + len(TEXT) - 28) / len(TEXT))


@pytest.mark.parametrize("at_once", [limits.ANSWER_CHARS_AT_ONCE, 30])
def test_none_has_null_for_a_gap(bench: ApiBench, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(limits, "ANSWER_CHARS_AT_ONCE", at_once)
    model: Any = bench.api.provider
    model.says = {"second": [ModelRefused("bad", of_call=True)]}
    task = run(bench, outputSchema=SCHEMA, onChunkFailure="gap", reduce="none")
    values = [{"said": ["first 1"]}, None, {"said": ["third 3"]}, {"said": ["fourth 4"]}]
    assert task["result"]["value"] == values
    assert task["result"]["output"] == [
        None if value is None else json.dumps(value, separators=(",", ":")) for value in values
    ]
    assert task["gaps"][0]["code"] == "model_refused"


def test_a_number_that_no_sum_can_hold_is_a_fault(bench: ApiBench) -> None:
    """A task that has completed always has a result. The failed chunk shows what is wrong, and where."""
    model: Any = bench.api.provider
    model.says = {part: ['{"n": 1e308}'] for part in ("first", "second", "third", "fourth")}
    task = run(bench, outputSchema=object_of(n={"type": "number"}), join={"/n": "sum"})
    assert (task["status"], task["error"]["code"]) == ("failed", "invalid_output")
    (chunk, *_) = data(bench.call("GET", f"/api/tasks/{task['id']}/chunks"))["chunks"]
    assert chunk["rejected"]["errors"][0]["pointer"] == "/n"


def test_a_retry_of_gaps_is_a_new_task(bench: ApiBench) -> None:
    model: Any = bench.api.provider
    model.says = {"second": ["no", "no", '{"said": ["second 2"]}']}
    old = run(bench, outputSchema=SCHEMA, onChunkFailure="gap")
    reply = bench.call("POST", f"/api/tasks/{old['id']}/retry")
    new = data(reply)
    assert reply.status == 202
    assert (new["retryOf"], new["id"] != old["id"], new["usage"]["minimumCalls"]) == (old["id"], True, 1)
    assert reply.headers["Location"] == f"/api/tasks/{new['id']}"
    again = bench.call("POST", f"/api/tasks/{old['id']}/retry")
    assert (data(again)["id"], again.headers["Idempotency-Replayed"]) == (new["id"], "true")
    done = finish(bench, new["id"])
    assert done["result"]["value"] == {"said": ["first 1", "second 2", "third 3", "fourth 4"]}
    assert (done["gaps"], done["coverage"], done["usage"]["modelCalls"]) == ([], 1.0, 1)
    assert read(bench, old["id"]) == old


def test_a_key_that_may_not_read_sees_no_content(bench: ApiBench) -> None:
    model: Any = bench.api.provider
    model.says = {"second": ["no"]}
    old = run(bench, outputSchema=SCHEMA, onChunkFailure="gap")
    secret = bench.make_key(Scope.WRITE)
    bench.limit(require_keys=True)
    first = data(bench.call("POST", f"/api/tasks/{old['id']}/retry", headers=bearer(secret)))
    bench.work_on(first["id"])
    shown = data(bench.call("POST", f"/api/tasks/{old['id']}/retry", headers=bearer(secret)))
    assert (shown["id"], shown["status"], shown["result"]) == (first["id"], "completed", None)
    assert (shown["request"]["outputSchema"], shown["gaps"][0]["chunk"]) == (None, 1)
    assert "said" not in json.dumps(shown)


def test_metrics_have_the_ladder_and_the_gaps(bench: ApiBench) -> None:
    model: Any = bench.api.provider
    model.says = {"first": ['```json\n{"said": ["1"]}\n```'], "second": ["no JSON"]}
    run(bench, outputSchema=SCHEMA, onChunkFailure="gap")
    bench.pass_seconds(1)
    text = bench.call("GET", "/api/metrics").body
    expected = {"reasks": 1, "outputs_rejected": 2, "outputs_repaired": 1, "gaps": 1, "outputs_truncated": 0}
    for name, count in expected.items():
        assert f'onceover_{name}_total{{route="queue"}} {count}\n' in text
    (five,) = data(bench.call("GET", "/api/history"))["buckets"]
    assert [five[name] for name in ("reasks", "rejected", "repaired", "gaps")] == [1, 2, 1, 1]


def test_full_coverage(bench: ApiBench) -> None:
    task = run(bench, onChunkFailure="gap")
    assert (task["gaps"], task["coverage"]) == ([], 1.0)
    assert task["result"] == {"output": "first 1\n\nsecond 2\n\nthird 3\n\nfourth 4"}
    assert list(task["usage"]) == PLAIN_USAGE


@pytest.mark.parametrize(("body", "budget"), [({"maxModelCalls": 9}, 9), (None, 20)])
def test_a_retry_of_gaps_has_the_budget_that_it_asks_for(bench: ApiBench, body: object, budget: int) -> None:
    model: Any = bench.api.provider
    model.says = {"second": [ModelRefused("bad", of_call=True)]}
    old = run(bench, onChunkFailure="gap", maxModelCalls=20)
    new = data(bench.call("POST", f"/api/tasks/{old['id']}/retry", body))
    assert (new["retryOf"], new["maxModelCalls"]) == (old["id"], budget)


PAID = Settings(provider="demo", chunk_chars=10, plan="paid")
PARAGRAPHS = "Anna met Bo in Paris. Bo went home to Oslo by train. Anna stayed there."
SAID = object_of(people=TEXTS, count={"type": "integer"})


@pytest.fixture
def paid() -> ApiBench:
    return ApiBench(settings=PAID)


def submitted(paid: ApiBench, reduce: Reduce = Reduce.CONCAT, **structure: Any) -> Task:
    schema = SAID if structure.get("has_schema") else None
    request = TaskRequest(
        text=PARAGRAPHS,
        options=TaskOptions(reduce=reduce, structure=Structure(**structure)),
        output_schema=None if schema is None else json.dumps(schema),
        join_rules={"/count": "sum"} if schema and reduce is Reduce.CONCAT else {},
    )
    made = paid.run(paid.api.submission.submit("local", request))
    assert isinstance(made, Submitted)
    return made.task


@pytest.mark.parametrize("reduce", Reduce)
def test_the_demo_fills_the_schema(paid: ApiBench, reduce: Reduce) -> None:
    task = submitted(paid, reduce, has_schema=True)
    assert task.source is not None
    assert task.source.output_schema == SAID
    assert paid.run(paid.worker.run(task.task_key, HOST)) == Ended(Status.COMPLETED)
    done = paid.run(paid.store.task(task.task_key))
    assert done.usage.model_calls == done.usage.minimum_calls
    values = done.value if reduce is Reduce.NONE else [done.value]
    assert not [fault for value in values for fault in faults_of(parse_schema(SAID, strict=True), value)]
    texts = done.result if reduce is Reduce.NONE else [done.result]
    assert [json.loads(text) for text in texts] == list(values)
    assert done.source == task.source


def with_a_gap(paid: ApiBench) -> Task:
    task = submitted(paid, gaps=True)
    claim = paid.claim(task.id)
    others = [at for at in range(task.total) if at != 1]
    facts = {"completed": len(others), "failed": 1}
    gap = FailedCall(CallKey(0, 1), Tries(1, 1), True, FAILURE, gap_chars=9)
    rest = progress(claim, outputs=outputs(*others), failures=[gap], answer_counts=AnswerCounts(coverage=0.5), **facts)
    assert paid.run(paid.store.step(claim, rest, Continue(100_000_000)))
    assert paid.run(paid.store.step(claim, progress(claim, **facts), Finish(1_000_000, gaps=True)))
    return task


def stream(paid: ApiBench, task: Task, after: str = "") -> list[Any]:
    url = f"http://localhost:8787/api/tasks/{task.id}/events{after and f'?after={after}'}"

    async def whole() -> str:
        reply = await handle(BenchRequest("GET", url), paid.api, CATALOGUE)
        assert reply.parts is not None, reply
        return "".join([part async for part in reply.parts])

    return [event for event in read_events(paid.run(whole())) if event.name in {"status", "chunk", "gap", "end"}]


def test_a_gap_is_an_event_in_its_chunks_place(paid: ApiBench) -> None:
    task = with_a_gap(paid)
    events = stream(paid, task)
    assert [event.name for event in events[:5]] == ["status", "status", "chunk", "gap", "chunk"]
    assert [event.id for event in events[2:5]] == ["0-4", "0-7", "0-10"]
    gap = events[3].json
    assert (gap["chunk"], gap["code"]) == (1, "model_refused")
    assert len([event for event in events if event.name == "chunk"]) == task.total - 1
    assert events[-1].name == "end"
    for at in (2, 3):
        rest = stream(paid, task, events[at].id)
        assert [(event.id, event.data) for event in rest] == [(event.id, event.data) for event in events[at + 1 :]]


def test_a_retry_of_gaps_is_submitted_once(paid: ApiBench) -> None:
    old = with_a_gap(paid)
    made = paid.run(retry_gaps(paid.api.submission, old.task_key))
    assert isinstance(made, Submitted)
    assert (made.replayed, made.task.retry_of, made.task.status) == (False, old.task_key, Status.PENDING)
    again = paid.run(retry_gaps(paid.api.submission, old.task_key))
    assert (again.replayed, again.task.task_key) == (True, made.task.task_key)
    paid.settle()
    assert paid.run(paid.worker.run(made.task.task_key, HOST)) == Ended(Status.COMPLETED)
    task = paid.run(paid.store.task(made.task.task_key))
    assert (task.completed, task.failed, task.usage.model_calls, task.usage.minimum_calls) == (task.total, 0, 1, 1)
    unchanged = paid.run(paid.store.task(old.task_key))
    assert (unchanged.failed, unchanged.retry_of) == (1, None)


def test_what_cannot_be_retried_so_is_refused(paid: ApiBench) -> None:
    whole = submitted(paid, gaps=True)
    assert paid.run(retry_gaps(paid.api.submission, whole.task_key)) is None
    old = with_a_gap(paid)
    with pytest.raises(BudgetTooSmall):
        paid.run(retry_gaps(paid.api.submission, old.task_key, 0))
    paid.limit(tasks_in_flight_most=1)
    assert isinstance(paid.run(retry_gaps(paid.api.submission, old.task_key)), LimitReached)
