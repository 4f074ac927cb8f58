"""Whatever JSON a field of `POST /v1/responses` contains, no answer is a 5xx, and a refusal names the field."""

from typing import Any

import pytest

from src.features.openai.fields import NewResponseFields
from src.features.openai.parameters import DEFAULTS
from tests.support.api_bench import ApiBench, data

ANYTHING: list[Any] = [True, False, 0, 1, -1, 1.5, 1e300, "", "x", "\U0001f600", [], [[]], [None], [{}], {}, {"": {}}]
ANYTHING += [{"type": {}}, {"type": []}, {"type": 1}, {"type": None}]
NESTED: list[Any] = [[{"role": value, "content": value, "type": "message"}] for value in ANYTHING]
NESTED += [[{"role": "user", "content": [value]}] for value in ANYTHING]
NESTED += [[{"role": "user", "content": [{"type": value, "text": value}]}] for value in ANYTHING]


@pytest.mark.parametrize("name", [*NewResponseFields.model_fields, *DEFAULTS, "surprise"])
def test_any_value_of_a_field(bench: ApiBench, name: str):
    for value in [*ANYTHING, *(NESTED if name == "input" else [])]:
        reply = bench.call("POST", "/v1/responses", {"background": True, "input": "x", name: value})
        assert reply.status in {200, 400}, (value, reply.body)
        if reply.status == 400:
            assert data(reply)["error"]["param"].startswith(name), (value, reply.body)


@pytest.mark.parametrize(
    "name", ["reasoning", "background_options", "text", "image", "onceover", "prompt_cache_options"]
)
def test_any_value_inside_a_field(bench: ApiBench, name: str):
    inner = [
        "effort",
        "summary",
        "completion_window",
        "format",
        "context_compression",
        "mode",
        "chunk",
        "modelOptions",
        "",
    ]
    for within in inner:
        for value in ANYTHING:
            body = {"background": True, "input": "x", name: {within: value}}
            reply = bench.call("POST", "/v1/responses", body)
            assert reply.status in {200, 400}, (within, value, reply.body)
            assert reply.status == 200 or data(reply)["error"]["param"].startswith(name), (within, value, reply.body)
