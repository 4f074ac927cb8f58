"""The model fields of a request are `model`, `maxOutputTokens`, `temperature` and `modelOptions`."""

from typing import Any

import pytest

from src.kernel.domain import limits
from src.kernel.domain.settings import Settings
from tests.support.api_bench import ApiBench, data

MOST = "x" * (limits.MODEL_OPTIONS_BYTES_MOST - len('{"stop":""}'))
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"maxOutputTokens": 0}, "maxOutputTokens"),
    ({"maxOutputTokens": 1_000_001}, "maxOutputTokens"),
    ({"maxOutputTokens": 1.5}, "maxOutputTokens"),
    ({"maxOutputTokens": "9"}, "maxOutputTokens"),
    ({"maxOutputTokens": True}, "maxOutputTokens"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 2.01}, "temperature"),
    ({"temperature": "1"}, "temperature"),
    ({"modelOptions": []}, "modelOptions"),
    ({"modelOptions": {"stop": MOST + "x"}}, "modelOptions"),
    ({"modelOptions": {"top_k": 5}}, "modelOptions.top_k"),
    ({"modelOptions": {"top_p": 1, "max_tokens": 5}}, "modelOptions.max_tokens"),
    ({"modelOptions": {"stream": True}}, "modelOptions.stream"),
    ({"modelOptions": {"": 1}}, "modelOptions."),
    ({"modelOptions": {"stop": "a\0b"}}, "modelOptions.stop"),
]
TAKEN: list[dict[str, Any]] = [
    {"maxOutputTokens": 1},
    {"maxOutputTokens": 1e6},
    {"temperature": 0},
    {"temperature": 2},
    {"modelOptions": {"stop": MOST}},
    {
        "modelOptions": {
            "top_p": 0.9,
            "seed": 7,
            "presence_penalty": 1,
            "frequency_penalty": 1,
            "reasoning_effort": "low",
        }
    },
    {"maxOutputTokens": None, "temperature": None, "modelOptions": None},
]


@pytest.mark.parametrize(("fields", "named"), REFUSED)
@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks?dryRun=true"])
def test_what_a_field_does_not_take(bench: ApiBench, path: str, fields: dict[str, Any], named: str) -> None:
    reply = bench.call("POST", path, {"input": "x", **fields})
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
    bench.close()


def test_the_deployment_lists_the_models() -> None:
    bench = ApiBench(settings=Settings(provider="demo", models=("small", "large")))
    assert bench.call("POST", "/api/tasks", {"input": "x", "model": "large"}).status == 202
    assert bench.call("POST", "/api/tasks", {"input": "x"}).status == 202
    reply = bench.call("POST", "/api/tasks", {"input": "x", "model": "huge"})
    assert reply.status == 422
    assert data(reply)["errors"] == [{"field": "model", "message": "must be one of small, large (AI_MODELS)"}]
    bench.close()


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
