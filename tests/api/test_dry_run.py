"""A dry run plans what the task then does, and the model fields of a request are checked."""

import json
from typing import Any

import pytest

from src.kernel.calls.asking import messages
from src.kernel.calls.protocol import ModelCall, OutputForm
from src.kernel.domain import limits
from src.kernel.domain.settings import SENDINGS, Sending, Settings
from src.kernel.work.submission import DEFAULT_INSTRUCTIONS
from tests.support.api_bench import ApiBench, data

TEXT = "one\n\ntwo\n\nthree and four"
BODIES: list[dict[str, Any]] = [
    {"input": TEXT},
    {"input": "x"},
    {"input": TEXT, "reduce": "merge"},
    {"input": "x", "reduce": "merge"},
    {"input": TEXT, "reduce": "none", "chunk": {"maxChars": 7, "overlapChars": 3}},
    {"input": "贾宝玉初会林黛玉。刘姥姥进大观园。", "chunk": {"maxChars": 9}},
]
REFUSED: list[tuple[object, int]] = [
    (b"{", 400),
    (b"", 400),
    ([1], 400),
    ({}, 422),
    ({"input": ""}, 422),
    ({"input": "x", "surprise": 1}, 422),
    ({"input": "x", "reduce": "max"}, 422),
    ({"input": "x", "chunk": {"maxChars": 5, "overlapChars": 5}}, 422),
    ({"input": "x" * 6_000, "chunk": {"maxChars": 1}}, 422),
    ({"input": "x", "metadata": {"a": "y" * limits.METADATA_BYTES_MOST}}, 422),
    ({"input": "x" * 10_001}, 413),
    ({"input": "a\0b"}, 422),
]


def plan(bench: ApiBench, body: object) -> Any:
    reply = bench.call("POST", "/api/tasks?dryRun=true", body)
    assert reply.status == 200, reply
    assert set(reply.headers) & {"Location", "Retry-After"} == set()
    return data(reply)


@pytest.mark.parametrize("body", BODIES)
def test_plan_is_what_the_task_then_has(bench: ApiBench, body: dict[str, Any]) -> None:
    found = plan(bench, body)
    task = bench.submit(text=body["input"], **{name: value for name, value in body.items() if name != "input"})
    assert found["minimumCalls"] == task["usage"]["minimumCalls"]
    assert found["characters"] == len(body["input"])
    bench.complete(task["id"])
    made = data(bench.call("GET", task["links"]["chunks"]))["chunks"]
    assert found["chunks"] == [{name: chunk[name] for name in ("index", "start", "end")} for chunk in made]


def test_tokens_are_those_of_each_call(bench: ApiBench) -> None:
    one = {"input": "x" * 8, "instructions": "y" * 4, "chunk": {"maxChars": 4}}
    assert plan(bench, one)["estimatedTokens"] == 2 * (1 + 1)
    default = -(-len(DEFAULT_INSTRUCTIONS) // 4)
    assert plan(bench, {"input": "x" * 4})["estimatedTokens"] == 1 + default


@pytest.mark.parametrize("sending", SENDINGS)
def test_tokens_count_the_schema_with_each_call(bench: ApiBench, sending: Sending) -> None:
    bench.limit(structured_output=sending)
    name = {"type": "string", "maxLength": 7}
    schema = {"type": "object", "properties": {"name": name}, "required": ["name"], "additionalProperties": False}
    one = {"input": "x" * 8, "instructions": "y" * 4, "chunk": {"maxChars": 4}, "reduce": "none"}
    form = OutputForm(schema, "output", True, "prompt")
    system, user = messages(ModelCall("y" * 4, "x" * 4, "m", form=form))
    found = plan(bench, one | {"outputSchema": schema})["estimatedTokens"]
    assert found == 2 * sum(-(-len(message["content"]) // 4) for message in (system, user))
    assert found > plan(bench, one)["estimatedTokens"] + 2 * len(json.dumps(schema)) // 5


def test_nothing_is_done(bench: ApiBench) -> None:
    bench.database.fail("D1_ERROR: Network connection lost.", times=10)
    plan(bench, {"input": "canary one\n\ntwo"})
    assert bench.database.batches == 0
    assert not bench.senders[0].sent
    assert "canary" not in "".join(bench.log_lines)


@pytest.mark.parametrize(("body", "status"), REFUSED, ids=lambda value: ascii(value)[:50])
def test_refused_as_the_submission_would_be(body: object, status: int) -> None:
    bench = ApiBench(settings=Settings(provider="demo", input_bytes=10_000))
    dry = bench.call("POST", "/api/tasks?dryRun=true", body)
    real = bench.call("POST", "/api/tasks", body)
    assert dry.status == status
    assert dry == real


@pytest.mark.parametrize("query", ["dryRun=1", "dryRun=True", "dryRun=yes", "dryRun=true&dryRun=true", "dryrun=true"])
def test_bad_parameter(bench: ApiBench, query: str) -> None:
    reply = bench.call("POST", f"/api/tasks?{query}", {"input": "x"})
    assert reply.status == 422
    assert data(reply)["errors"][0]["field"].lower() == "dryrun"
    assert bench.count_rows() == 0


@pytest.mark.parametrize("query", ["dryRun=false", "dryRun="])
def test_false_submits(bench: ApiBench, query: str) -> None:
    assert bench.call("POST", f"/api/tasks?{query}", {"input": "x"}).status == 202


MOST = "x" * (limits.MODEL_OPTIONS_BYTES_MOST - len('{"stop":""}'))
REFUSED_FIELDS: dict[str, list[Any]] = {
    "maxOutputTokens": [0, 1_000_001, 1.5, "9", True],
    "temperature": [-0.1, 2.01, "1"],
    "modelOptions": [[], {"stop": MOST + "x"}],
    "modelOptions.top_k": [{"top_k": 5}],
    "modelOptions.max_tokens": [{"top_p": 1, "max_tokens": 5}],
    "modelOptions.stream": [{"stream": True}],
    "modelOptions.": [{"": 1}],
    "modelOptions.stop": [{"stop": "a\0b"}],
}
OPTIONS = {"top_p": 0.9, "seed": 7, "presence_penalty": 1, "frequency_penalty": 1, "reasoning_effort": "low"}
TAKEN: list[dict[str, Any]] = [
    *({"maxOutputTokens": most} for most in (1, 1e6)),
    *({"temperature": degrees} for degrees in (0, 2)),
    *({"modelOptions": options} for options in ({"stop": MOST}, OPTIONS)),
    {"maxOutputTokens": None, "temperature": None, "modelOptions": None},
]


@pytest.mark.parametrize(
    ("named", "value"), [(one, value) for one, values in REFUSED_FIELDS.items() for value in values]
)
@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks?dryRun=true"])
def test_what_a_field_does_not_take(bench: ApiBench, path: str, named: str, value: Any) -> None:
    reply = bench.call("POST", path, {"input": "x", named.partition(".")[0]: value})
    assert (reply.status, data(reply)["code"]) == (422, "invalid_fields")
    assert [error["field"] for error in data(reply)["errors"]] == [named]
    assert bench.count_rows() == 0


@pytest.mark.parametrize("fields", TAKEN)
def test_what_a_field_takes(bench: ApiBench, fields: dict[str, Any]) -> None:
    assert bench.call("POST", "/api/tasks", {"input": "x", **fields}).status == 202


def test_the_deployment_lists_the_options() -> None:
    bench = ApiBench(settings=Settings(provider="demo", model_options=("top_k",)))
    assert bench.call("POST", "/api/tasks", {"input": "x", "modelOptions": {"top_k": 5}}).status == 202
    reply = bench.call("POST", "/api/tasks", {"input": "x", "modelOptions": {"top_p": 0.5}})
    assert data(reply)["errors"] == [
        {"field": "modelOptions.top_p", "message": "is not allowed; AI_MODEL_OPTIONS allows top_k"}
    ]


def test_the_deployment_lists_the_models() -> None:
    bench = ApiBench(settings=Settings(provider="demo", models=("small", "large")))
    assert bench.call("POST", "/api/tasks", {"input": "x", "model": "large"}).status == 202
    assert bench.call("POST", "/api/tasks", {"input": "x"}).status == 202
    reply = bench.call("POST", "/api/tasks", {"input": "x", "model": "huge"})
    assert reply.status == 422
    assert data(reply)["errors"] == [{"field": "model", "message": "must be one of small, large (AI_MODELS)"}]


def test_a_plan_says_what_the_calls_would_use(bench: ApiBench) -> None:
    bench.limit(max_output_tokens=500)
    body = {"input": "one\n\ntwo", "instructions": "Count.", "chunk": {"overlapChars": 2}}
    assert data(bench.call("POST", "/api/tasks?dryRun=true", body))["request"] == {
        "model": "demo-1",
        "instructions": "Count.",
        "reduce": "concat",
        "chunk": {"maxChars": 10, "overlapChars": 2},
        "maxOutputTokens": 500,
        "temperature": None,
        "modelOptions": {},
        "inputCharacters": 8,
    }
    asked = {"model": "m", "reduce": "merge", "maxOutputTokens": 9, "temperature": 0.5, "modelOptions": {"seed": 1}}
    plan = data(bench.call("POST", "/api/tasks?dryRun=true", body | asked | {"chunk": {"maxChars": 5}}))["request"]
    assert plan == plan | asked | {"chunk": {"maxChars": 5, "overlapChars": 0}}
