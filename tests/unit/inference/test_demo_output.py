"""The demo provider's structured output, by example: its values, the end of recursion, and its cost."""

import asyncio
import importlib
import json
from typing import Any

import pytest

from src.core.model_servers import Sending
from src.inference import demo_output
from src.inference.demo import DemoProvider, estimated_tokens, formed
from src.inference.protocol import ModelCall, ModelReply, OutputForm
from tests.support.steps import counted

jsonschema: Any = importlib.import_module("jsonschema_rs")

TEXT = """\
The lighthouse stood on the northern rocks, and its lamp had burnt every night for 90 years.
Mr. Hale, the keeper, trimmed the lamp at dusk. His daughter counted 12 ships.

In the storm of that winter the lamp went out, and the keeper climbed the stairs of the lighthouse.
"""
CHINESE = "灯塔立在北面的礁石上，塔上的灯已经亮了九十年。守塔人老何在黄昏时修剪灯芯。灯塔很高，守塔人很累。"
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
    """Return the demo's value for a text, and check that the schema allows it."""
    value = json.loads(formed(schema, text))
    assert is_valid(schema, value), value
    return value


def of(**properties: Any) -> dict[str, Any]:
    """Return a strict object schema with the given properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def infer(sending: Sending, tokens: int | None = None) -> ModelReply:
    form = OutputForm(of(names=NAMES), "output", True, sending)
    call = ModelCall("Do it.", TEXT, "demo-1", max_output_tokens=tokens, form=form)
    return asyncio.run(DemoProvider().infer(call))


@pytest.mark.parametrize("sending", ["native", "prompt", "both"])
def test_a_form_is_honoured_however_it_is_sent(sending: Sending) -> None:
    """The demo's output is compact JSON that fits the schema, whether the schema is sent as a field or in words."""
    reply = infer(sending)
    assert reply.output == '{"names":["lamp","lighthouse","keeper"]}'
    assert reply.finish_reason == "stop"
    assert (reply.input_tokens > estimated_tokens("Do it." + TEXT)) is (sending != "native")


def test_a_form_can_be_cut() -> None:
    """A small token limit cuts the demo's JSON like any text, and the finish reason is `length`."""
    reply = infer("native", 3)
    assert (reply.output, reply.finish_reason) == ('{"names":["l', "length")


def test_words_and_figures_are_the_texts() -> None:
    """The demo fills a string near the root with a sentence of the text, and a deeper one with a term."""
    schema = of(
        summary={"type": "string"},
        people={**NAMES, "minItems": 2, "maxItems": 2},
        years={"type": "integer"},
        ships={"type": ["number", "null"], "maximum": 50},
        mood={"enum": ["sunny", "storm"]},
    )
    assert made(schema) == {
        "summary": "The lighthouse stood on the northern rocks, and its lamp had burnt every night for 90 years.",
        "people": ["lamp", "lighthouse"],
        "years": 90,
        "ships": 12,
        "mood": "storm",
    }
    assert made(of(names=NAMES), CHINESE) == {"names": ["灯塔", "守塔人", "灯塔"]}


def test_a_merge_is_made_of_the_words_of_outputs() -> None:
    """The demo reads the outputs that it merges as JSON."""
    schema = of(names=NAMES)
    outputs = [formed(schema, text) for text in (TEXT, CHINESE)]
    names = made(schema, "\n\n".join(outputs))["names"]
    assert names
    assert all(name in outputs[0] + outputs[1] for name in names)
    assert "names" not in names


@pytest.mark.parametrize("text", ["", " \n", "{", "{}\n\n{", '{"a":1}', "x\x00y", "\ud800", "{}"])
def test_any_text_fills_a_form(text: str) -> None:
    """The demo gives a valid value even for a text without words, or for one that only looks like outputs."""
    formed(TREE, text).encode()
    made(of(names=NAMES, when={"type": "string", "format": "date"}), text)


def test_recursion_ends() -> None:
    """The demo's values of recursive schemas end and stay small."""
    chain: dict[str, Any] = {
        f"n{number}": of(next={"$ref": f"#/$defs/n{number + 1}"}) if number < 25 else {"type": "null"}
        for number in range(26)
    }
    linked = of(text={"type": "string"}, next={"anyOf": [{"$ref": "#"}, {"type": "null"}]})
    for schema in (TREE, linked, {**of(first={"$ref": "#/$defs/n0"}), "$defs": chain}):
        assert len(json.dumps(made(schema))) < 5_000


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
    """The demo meets schemas with bounds, listed values, lengths, references and alternatives."""
    made(schema)


@pytest.mark.parametrize("name", ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])
@pytest.mark.parametrize("text", [TEXT, CHINESE, "", "x"])
def test_each_format_is_met(name: str, text: str) -> None:
    """The demo's strings fit the format that the schema demands; `made` checks formats, too."""
    assert made(of(a={"type": "string", "format": name}), text)["a"]


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
    """If no value is small enough, or none ends, the demo answers `{}` after little work."""
    with counted(demo_output) as steps:
        assert formed(schema, TEXT) == "{}"
    assert steps.lines < 500_000


def test_the_work_is_linear_in_the_text() -> None:
    """For a longer text only the demo's analysis takes more steps, in proportion to the text's length."""
    lines = []
    for size in (20, 40):
        with counted(demo_output) as own:
            formed(TREE, TEXT * size)
        lines.append(own.lines)
    assert lines[1] <= 1.1 * lines[0]
