"""The demo provider's structured output, by example: its values, the end of recursion, and its cost."""

import asyncio
import importlib
import json
from typing import Any

import pytest

from src.features.demo import structured
from src.features.demo.demo import DemoProvider, estimated_tokens, formed
from src.kernel.calls.protocol import ModelCall, ModelReply, OutputForm
from src.kernel.domain.settings import Sending
from tests.support.steps import counted

jsonschema: Any = importlib.import_module("jsonschema_rs")

TEXT = """\
The lighthouse stood on the northern rocks, and its lamp had burnt every night for 90 years.
Mr. Hale, the keeper, trimmed the lamp at dusk. His daughter counted 12 ships.

In the storm of that winter the lamp went out, and the keeper climbed the stairs of the lighthouse.
"""
NAMES: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"tree": {"$ref": "#/$defs/tree"}},
    "required": ["tree"],
    "additionalProperties": False,
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            },
            "required": ["name", "children"],
        }
    },
}


def is_valid(schema: dict[str, Any], value: object) -> bool:
    return bool(jsonschema.Draft202012Validator(schema, validate_formats=True).is_valid(value))


def made(schema: dict[str, Any], text: str = TEXT) -> Any:
    value = json.loads(formed(schema, text))
    assert is_valid(schema, value), value
    return value


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def infer(sending: Sending, tokens: int | None = None) -> ModelReply:
    form = OutputForm(of(names=NAMES), "output", True, sending)
    call = ModelCall("Do it.", TEXT, "demo-1", max_output_tokens=tokens, form=form)
    return asyncio.run(DemoProvider().infer(call))


@pytest.mark.parametrize("sending", ["native", "prompt", "both"])
def test_a_form_is_honoured_however_it_is_sent(sending: Sending) -> None:
    reply = infer(sending)
    assert reply.output == '{"names":["lamp","lighthouse","keeper"]}'
    assert reply.finish_reason == "stop"
    assert (reply.input_tokens > estimated_tokens("Do it." + TEXT)) is (sending != "native")


@pytest.mark.parametrize("text", ["", " \n", "{", "{}\n\n{", '{"a":1}', "x\x00y", "\ud800", "{}"])
def test_any_text_fills_a_form(text: str) -> None:
    formed(TREE, text).encode()
    made(of(names=NAMES, when={"type": "string", "format": "date"}), text)


@pytest.mark.parametrize(
    "schema",
    [
        of(n={"type": "integer", "minimum": 7, "exclusiveMaximum": 8}),
        of(n={"type": "integer", "exclusiveMinimum": 100}),
        of(n={"type": "integer", "maximum": -3}),
        of(n={"type": "number", "exclusiveMinimum": 0.1, "exclusiveMaximum": 0.2}),
        of(n={"type": "number", "exclusiveMaximum": 5}),
        of(n={"type": "integer", "multipleOf": 7, "minimum": 1, "maximum": 50}),
        of(n={"type": "number", "multipleOf": 0.5, "exclusiveMinimum": 1, "maximum": 50}),
        of(n={"minimum": -5, "maximum": -3}),
        of(n={"const": None}),
        of(n={"enum": [[1], {"a": "b"}]}),
        of(n={"type": "string", "minLength": 2_000}),
        of(n={"type": "string", "maxLength": 0}),
        of(n={"anyOf": [{"type": "string", "maxLength": 3}, {"type": "null"}]}),
        of(n={"anyOf": [of(a={"const": 1}), of(a={"const": 2})]}),
        {"type": "object"},
        {"type": "object", "properties": {"a/b~": {"$ref": "#/properties/c~1"}, "c/": NAMES}, "required": ["a/b~"]},
    ],
)
def test_usual_schemas_are_met(schema: dict[str, Any]) -> None:
    made(schema)


DOUBLING: dict[str, Any] = {
    f"n{number}": of(a={"$ref": f"#/$defs/n{number + 1}"}, b={"$ref": f"#/$defs/n{number + 1}"}) for number in range(30)
}


@pytest.mark.parametrize(
    "schema",
    [
        of(n={"type": "string", "minLength": 2, "maxLength": 1}),
        of(n={"type": "string", "minLength": 10**9}),
        of(n={**NAMES, "minItems": 10**9}),
        of(n={"$ref": "#"}),
        {**of(n={"$ref": "#/$defs/n0"}), "$defs": {**DOUBLING, "n30": NAMES}},
    ],
)
def test_what_cannot_be_met_is_an_empty_object(schema: dict[str, Any]) -> None:
    with counted(structured) as steps:
        assert formed(schema, TEXT) == "{}"
    assert steps.lines < 500_000
