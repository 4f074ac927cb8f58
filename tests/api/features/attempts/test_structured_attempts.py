"""The log of a structured task's calls: rejected answers, retries, and the outputs that a retry of gaps copies."""

from collections.abc import Iterator
from typing import Any

import pytest

from src.kernel.calls.protocol import ModelReply
from src.kernel.domain.errors import ModelRefused
from src.kernel.domain.settings import Settings
from src.kernel.domain.task import Route
from src.kernel.work.worker import Host
from tests.support.api_bench import ApiBench, data, key
from tests.support.scripted_model import ScriptedModel

TEXT = "first 1\n\nsecond 2\n\nthird 3\n\nfourth 4"  # the task's text has four chunks of at most ten characters
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"said": {"type": "array", "items": {"type": "string"}}},
    "required": ["said"],
    "additionalProperties": False,
}
BAD, CUT = '{"said": 1}', ModelReply('{"said": []}', 10, 1, "length")
REFUSED = ModelRefused("the provider answered 400", of_call=True)


@pytest.fixture
def model() -> ScriptedModel:
    return ScriptedModel()


@pytest.fixture
def bench(model: ScriptedModel) -> Iterator[ApiBench]:
    made = ApiBench(settings=Settings(provider="demo", chunk_chars=10, concurrency=1), provider=model)
    yield made
    made.close()


def work(bench: ApiBench, task_id: str) -> str:
    bench.run(bench.worker.run(key(task_id), Host(Route.QUEUE, 600.0)))
    return str(data(bench.call("GET", f"/api/tasks/{task_id}"))["status"])


def log(bench: ApiBench, task_id: str) -> Any:
    return data(bench.call("GET", f"/api/tasks/{task_id}/attempts?limit=100"))


def said(attempts: list[Any]) -> list[tuple[object, ...]]:
    return [(one["level"], one["index"], one["number"], one["outcome"], one["code"]) for one in attempts]


def test_a_rejected_answer_is_a_failed_call_with_an_answer(bench: ApiBench, model: ScriptedModel) -> None:
    model.says = {"second": [BAD, '{"said": []}'], "third": [BAD, BAD], "fourth": [CUT]}
    task_id = bench.submit(TEXT, outputSchema=SCHEMA, onChunkFailure="gap")["id"]
    assert work(bench, task_id) == "completed"
    read = log(bench, task_id)
    assert said(read["attempts"]) == [
        (0, 0, 1, "succeeded", None),
        (0, 1, 1, "failed", "invalid_output"),
        (0, 1, 2, "succeeded", None),
        (0, 2, 1, "failed", "invalid_output"),
        (0, 2, 2, "failed", "invalid_output"),
        (0, 3, 1, "failed", "output_truncated"),
    ]
    failed = [one for one in read["attempts"] if one["outcome"] == "failed"]
    assert [one["answered"] for one in failed] == [True] * 4
    assert {(one["model"], one["route"]) for one in failed} == {("scripted-1", "queue")}
    assert all(one["startedAt"] and one["finishedAt"] and one["message"] for one in failed)
    assert read["counts"] == {"calls": 6, "succeeded": 2, "failed": 4, "inDoubt": 0, "out": 0, "unlisted": 0}


@pytest.mark.parametrize("reduce", ["concat", "merge"])
def test_copied_outputs_are_no_calls_of_the_new_task(bench: ApiBench, model: ScriptedModel, reduce: str) -> None:
    """Its log has only its own calls, before the first one and after its outputs are stored."""
    model.says = {"second": [REFUSED, "the second"]}
    old_id = bench.submit(TEXT, reduce=reduce, onChunkFailure="gap")["id"]
    assert work(bench, old_id) == "completed"
    before = log(bench, old_id)
    new_id = data(bench.call("POST", f"/api/tasks/{old_id}/retry"))["id"]
    bench.settle()
    assert new_id != old_id
    nothing = {"calls": 0, "succeeded": 0, "failed": 0, "inDoubt": 0, "out": 0, "unlisted": 0}
    assert log(bench, new_id) == {"attempts": [], "counts": nothing, "nextCursor": None}
    assert work(bench, new_id) == "completed"
    made = [(0, 1, 1, "succeeded", None), *([(1, 0, 1, "succeeded", None)] if reduce == "merge" else [])]
    read = log(bench, new_id)
    assert said(read["attempts"]) == made
    assert read["counts"] == {**nothing, "calls": len(made), "succeeded": len(made)}
    chunks = data(bench.call("GET", f"/api/tasks/{new_id}/chunks"))["chunks"]
    assert [one["index"] for one in chunks] == [0, 1, 2, 3]
    assert log(bench, old_id) == before
