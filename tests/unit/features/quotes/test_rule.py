"""The rule of quotes: which fields it finds in a value, and which outputs it rejects instead of working for long."""

import json
from dataclasses import replace
from typing import Any

import pytest

from src.features.quotes.places import QuoteFields
from src.features.quotes.rule import QUOTES_MOST, QuoteRule
from src.features.structured.joining import joiner_for
from src.features.structured.schema.pointers import tokens_to
from src.features.structured.schema.schema import parse_schema
from src.kernel.calls.protocol import ModelReply
from src.kernel.domain import limits
from src.kernel.domain.structure import Quote, Rejection
from src.kernel.run.kinds import CallSource
from src.kernel.store.claims import CallKey
from tests.support.store_bench import StoreBench

QUOTE = {"type": ["null", "string"], "x-onceover": "quote"}
TEXT = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def pointers(schema: dict[str, Any], value: object) -> list[str]:
    found = QuoteFields(parse_schema(schema, strict=False)).of(value)
    return ["/".join(map(str, tokens_to(field.place))) for field in found]


def rule_of(schema: dict[str, Any]) -> QuoteRule:
    bench = StoreBench()
    bench.insert(chunks=1)
    return QuoteRule(replace(bench.claim(), output_schema=json.dumps(schema)))


def judged(schema: dict[str, Any], value: object, text: str) -> ModelReply | Rejection:
    return rule_of(schema).judge(CallKey(0, 0), reply_with(value), lambda: CallSource(text, 7))


def reply_with(value: object) -> ModelReply:
    return ModelReply(json.dumps(value), 1, 1)


def test_quotes_are_found_in_arrays_references_and_alternatives() -> None:
    node = closed(
        text={"$ref": "#/$defs/quote"}, nodes={"type": "array", "items": {"$ref": "#/$defs/node"}}, other=TEXT
    )
    schema = closed(root={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}, plain=TEXT)
    schema["$defs"] = {"node": node, "quote": QUOTE}
    leaf = {"text": "b", "nodes": [], "other": "c"}
    value = {"plain": "p", "root": {"text": None, "nodes": [leaf, leaf | {"nodes": [leaf]}], "other": "d"}}
    expected = ["root/nodes/0/text", "root/nodes/1/text", "root/nodes/1/nodes/0/text"]
    assert pointers(schema, value) == expected
    assert pointers(schema, {"root": None, "plain": "p"}) == []


def test_the_alternative_that_a_value_fits_says_what_is_a_quote() -> None:
    """What tells alternatives apart may lie deep in a value. If several fit, one of them decides."""
    inner = {"type": "array", "items": {"type": "integer"}}
    schema = closed(
        a={
            "anyOf": [
                closed(n=inner, q=QUOTE),
                closed(n={"type": "array", "items": TEXT}, q={"type": ["string", "null"]}),
            ]
        },
        b={"anyOf": [{"type": "string"}, QUOTE]},
    )
    assert pointers(schema, {"a": {"n": [1], "q": "x"}, "b": 0}) == ["a/q"]
    assert pointers(schema, {"a": {"n": ["1"], "q": "x"}, "b": 0}) == []
    assert pointers(schema, {"a": {}, "b": "x"}) == ["b"]


def test_a_search_for_alternatives_ends() -> None:
    """A value whose alternatives take too many steps to tell apart is rejected, and no text passes unchecked."""
    tree: dict[str, Any] = {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/tree"}}, QUOTE]}
    tree["anyOf"].append({"type": "array", "items": {"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/tree"}]}})
    schema = closed(a={"$ref": "#/$defs/tree"}) | {"$defs": {"tree": tree}}
    value: object = ["x"] * 50
    for _ in range(8):
        value = [value, value]
    answer = judged(schema, {"a": value}, "x" * 100)
    assert isinstance(answer, Rejection)
    assert "bounded search" in answer.faults[0][1]


def test_quotes_become_the_sources_text() -> None:
    answer = judged(closed(a=QUOTE, b=QUOTE, c=QUOTE), {"a": "x-y", "b": " ", "c": None}, "<x–y>")
    assert isinstance(answer, ModelReply)
    assert json.loads(answer.output) == {"a": "x–y", "b": None, "c": None}
    assert (answer.quotes, answer.quotes_missed) == ((Quote("/a", 8, 11),), 1)


def test_names_are_escaped_and_whole() -> None:
    name = "~/" + "n" * 600
    answer = judged(closed(**{name: QUOTE}), {name: "x"}, "x")
    assert isinstance(answer, ModelReply)
    assert answer.quotes == (Quote("/~0~1" + "n" * 600, 7, 8),)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": ["x"] * (QUOTES_MOST + 1)}, "x"),  # too many
        ({"a": ["a b"] * 10}, "a" + " " * (limits.OUTPUT_CHARS_MOST // 9) + "b"),  # the source's text is longer
    ],
)
def test_an_output_that_would_take_too_much_is_rejected(value: object, text: str) -> None:
    answer = judged(closed(a={"type": "array", "items": QUOTE}), value, text)
    assert isinstance(answer, Rejection)
    assert not answer.final


def test_pointers_have_a_limit() -> None:
    schema = closed(**{"n" * 5_000: {"type": "array", "items": QUOTE}})
    assert isinstance(judged(schema, {"n" * 5_000: ["x"] * 50}, "x"), Rejection)


def test_a_value_that_no_longer_fits_is_rejected() -> None:
    schema = closed(a={"anyOf": [closed(q=QUOTE, kind={"const": 1}), closed(q=QUOTE, kind={"const": 2})]})
    assert isinstance(judged(schema, {"a": {"q": "x", "kind": 1}}, "x"), ModelReply)
    schema = closed(a=closed(q=QUOTE) | {"enum": [{"q": "x - y"}]})
    assert isinstance(judged(schema, {"a": {"q": "x - y"}}, "x – y"), Rejection)


def test_a_union_keeps_the_first_place_in_all_parts() -> None:
    """A joiner that holds no arrays, and looks at its unions in parts, places quotes as one that holds them."""
    schema = parse_schema(
        closed(a={"type": "array", "items": QUOTE}, b=closed(c={"type": "array", "items": TEXT})), strict=False
    )
    values: list[list[str | None]] = [["x", "y", "x"], [], ["z", "y", None, "w"], ["w"]]
    for parts in (0, 1, 3):  # 0: all arrays are held
        joiner = joiner_for(schema, {"/a": "union"})
        for _ in range(joiner.let_go(parts) if parts else 1):
            for value in values:
                joiner.add({"a": value, "b": {"c": []}})
            joiner.again()
        joiner.written()
        placed = [
            (quote.pointer, quote.start)
            for number, value in enumerate(values)
            for quote in joiner.placed(
                number, [Quote(f"/a/{at}", 10 * number + at, 99) for at, one in enumerate(value) if one]
            )
        ]
        assert placed == [("/a/0", 0), ("/a/1", 1), ("/a/2", 20), ("/a/4", 23)], parts
