"""Output schemas: which are accepted, where others are refused, the strict rule, references and limits."""

import json
from typing import Any, Literal

import pytest
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel

from src.features.structured.schema.check import faults_of
from src.features.structured.schema.keywords import SchemaRefused
from src.features.structured.schema.schema import (
    OutputSchema,
    accepted_schema,
    parse_schema,
    read_schema,
    sent_document,
)

STRINGS = {"type": "string"}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def refusal(document: object, *, strict: bool = False) -> tuple[str, str]:
    with pytest.raises(SchemaRefused) as refused:
        parse_schema(document, strict=strict)
    assert refused.value.code == "unsupported_schema"
    return refused.value.pointer, refused.value.reason


class Person(BaseModel):
    name: str
    kind: Literal["person"]
    age: int | None
    friends: "list[Person]"


class People(BaseModel):
    people: list[Person]
    score: float


@pytest.mark.parametrize("model", [Person, People])
def test_what_openai_s_sdk_makes_of_a_model_is_accepted(model: type[BaseModel]) -> None:
    parse_schema(to_strict_json_schema(model), strict=True)


def test_what_zod_writes_is_accepted() -> None:
    document = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        **closed(
            email={"type": "string", "format": "email", "pattern": "^(?:a+)+$"},
            age={"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991},
            kind={"type": "string", "enum": ["a", "b"]},
            maybe={"anyOf": [STRINGS, {"type": "null"}]},
            node={"$ref": "#/definitions/node"},
        ),
        "definitions": {"node": closed(children={"type": "array", "items": {"$ref": "#/definitions/node"}})},
    }
    schema = parse_schema(document, strict=True)
    assert schema.document is document
    value = {"email": "aaaa!@example.org", "age": 3, "kind": "a", "maybe": None, "node": {"children": []}}
    assert not faults_of(schema, value)  # the schema's `pattern` is ignored


def test_all_keywords_of_the_subset_are_accepted() -> None:
    notes: dict[str, Any] = {"title": "t", "description": "d", "default": None, "examples": [{}]}
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://example.org/s",
        "type": "object",
        **notes,
        "properties": {
            "n": {
                "type": ["number", "null"],
                "minimum": 0,
                "maximum": 9,
                "exclusiveMinimum": -1,
                "exclusiveMaximum": 10,
                "multipleOf": 0.5,
                **notes,
            },
            "s": {"type": "string", "minLength": 0, "maxLength": 3.0, "format": "uuid"},
            "l": {"type": "array", "items": {}, "minItems": 1, "maxItems": 2},
            "c": {"const": {"deep": [1]}},
            "e": {"enum": [1, "a", None, True, [], {}]},
            "u": {"anyOf": [STRINGS, {"$ref": "#/$defs/d"}]},
            "r": {"$ref": "#", **notes},
            "i": {"$ref": "#/$defs/d/properties/inner"},
        },
        "required": ["n"],
        "$defs": {"d": {"type": "object", "properties": {"inner": STRINGS}}},
        "definitions": {},
    }
    assert isinstance(read_schema(json.dumps(document)), OutputSchema)
    assert parse_schema(document, strict=False) == parse_schema(document, strict=False)


ANNOTATED: dict[str, Any] = {
    "$comment": "c",
    "id": "i",
    "readOnly": True,
    "writeOnly": False,
    "deprecated": True,
    "x-order": {"enum": []},
    "x-": None,
}


def test_annotations_pass_without_effect() -> None:
    """Annotations that constrain nothing are accepted anywhere, and are not sent to models. Properties keep theirs."""
    plain = {
        "type": "object",
        "properties": {"id": STRINGS, "x-order": {"$ref": "#/$defs/readOnly"}},
        "items": {"anyOf": [STRINGS, {"items": {"type": "null"}}]},
        "$defs": {"readOnly": {"const": {"x-kept": {"$comment": "also"}}}},
    }

    def annotated(schema: dict[str, Any]) -> dict[str, Any]:
        below = {
            name: {key: annotated(one) for key, one in value.items()}
            if name in {"properties", "$defs"}
            else annotated(value)
            if name == "items"
            else list(map(annotated, value))
            if name == "anyOf"
            else value
            for name, value in schema.items()
        }
        return {**ANNOTATED, **below}

    document = annotated(plain) | {"additionalProperties": True}
    schema = parse_schema(document, strict=False)
    assert sent_document(schema.document) == plain | {"additionalProperties": True}
    assert not faults_of(schema, {"id": "a", "x-order": {"x-kept": {"$comment": "also"}}, "other": 1})
    assert faults_of(schema, {"id": 1, "x-order": {}})
    parse_schema(closed(a=STRINGS | ANNOTATED), strict=True)


@pytest.mark.parametrize(
    ("property_schema", "pointer", "word"),
    [
        ({"oneOf": [STRINGS]}, "/oneOf", "use `anyOf`"),
        ({"allOf": [STRINGS]}, "/allOf", "as one"),
        ({"not": {}}, "/not", "not a supported keyword"),
        ({"type": "string", "pattern": "a"}, "/pattern", "exponential"),
        ({"type": "string", "format": "uri"}, "/format", "date-time, date, time"),
        ({"type": "string", "format": "uri", "pattern": "a"}, "/format", "supported formats"),
        ({"type": "string", "format": "date", "pattern": 1}, "/pattern", "text"),
        ({"type": "text"}, "/type", "one of object"),
        ({"type": []}, "/type", "empty"),
        ({"type": ["string", "string"]}, "/type", "twice"),
        ({"type": ["string", None]}, "/type", "one of object"),
        ({"enum": []}, "/enum", "at least one"),
        ({"enum": {"a": 1}}, "/enum", "list"),
        ({"anyOf": []}, "/anyOf", "at least one"),
        ({"anyOf": [STRINGS, True]}, "/anyOf/1", "JSON object"),
        ({"items": [STRINGS]}, "/items", "JSON object"),
        ({"properties": []}, "/properties", "object"),
        ({"properties": {"b/~": {"if": {}}}}, "/properties/b~1~0/if", "keyword"),
        ({"required": "a"}, "/required", "list of names"),
        ({"required": ["a", "a"]}, "/required", "twice"),
        ({"required": [1]}, "/required", "list of names"),
        ({"$ref": "#", "x-order": 1, "additionalProperties": True}, "/additionalProperties", "Beside `$ref`"),
        ({"comment": "c"}, "/comment", "keyword"),
        ({"x-onceover": "other"}, "/x-onceover", "x-onceover"),
        ({"nullable": True, "x-a": 1}, "/nullable", "`nullable`"),
        ({"additionalProperties": STRINGS}, "/additionalProperties", "Only false"),
        ({"additionalProperties": 0}, "/additionalProperties", "Only false"),
        ({"minimum": True}, "/minimum", "number"),
        ({"maximum": "1"}, "/maximum", "number"),
        ({"minimum": float("nan")}, "/minimum", "not finite"),
        ({"exclusiveMaximum": float("-inf")}, "/exclusiveMaximum", "not finite"),
        ({"minimum": 10**400}, "/minimum", "largest double"),
        ({"const": 2**1024}, "/const", "largest double"),
        ({"multipleOf": 0}, "/multipleOf", "above 0"),
        ({"multipleOf": -1}, "/multipleOf", "above 0"),
        ({"minLength": -1}, "/minLength", "0 or more"),
        ({"maxLength": 1.5}, "/maxLength", "whole"),
        ({"minItems": False}, "/minItems", "number"),
        ({"$schema": "x"}, "/$schema", "root"),
        ({"$id": "x"}, "/$id", "root"),
        ({"$ref": 1}, "/$ref", "text"),
        ({"$ref": "https://example.org/s"}, "/$ref", "within the schema"),
        ({"$ref": "#/properties/none"}, "/$ref", "names no schema"),
        ({"$ref": "#anchor"}, "/$ref", "within the schema"),
        ({"$ref": "#/$defs/none"}, "/$ref", "names no schema"),
        ({"$ref": "#/$defs"}, "/$ref", "names no schema"),
        ({"$ref": "#", "type": "object"}, "/type", "Beside `$ref`"),
        ({"default": "\ud800"}, "/default", "surrogate"),
        ({"examples": [{"\udc00": 1}]}, "/examples/0/\ufffd", "surrogate"),
        (True, "", "JSON object"),
        ({"default": {1, 2}}, "/default", "not JSON"),
    ],
)
def test_everything_else_is_refused_with_its_place(property_schema: Any, pointer: str, word: str) -> None:
    found, reason = refusal({"type": "object", "properties": {"a": property_schema}})
    assert found == "/properties/a" + pointer
    assert word in reason
    assert reason.endswith(".")


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ([], ""),
        ({}, ""),
        ({"anyOf": [{"type": "object"}]}, ""),
        ({"type": ["object"]}, "/type"),
        ({"type": "array"}, "/type"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "object"}}}, ""),
    ],
)
def test_the_root_is_an_object(document: object, pointer: str) -> None:
    assert refusal(document)[0] == pointer


@pytest.mark.parametrize(
    ("document", "pointer", "word"),
    [
        ({"type": "object", "properties": {}}, "", "additionalProperties"),
        (closed(a=STRINGS) | {"required": []}, "/properties/a", "null"),
        (closed(a=STRINGS) | {"required": ["a", "b"]}, "/required/1", "no property"),
        (closed(a={}), "/properties/a", "`type`"),
        (closed(a={"type": "array"}), "/properties/a", "`items`"),
        (closed(a={"type": ["object", "null"]}), "/properties/a", "additionalProperties"),
        (closed(a={"anyOf": [{"type": "object"}]}), "/properties/a/anyOf/0", "additionalProperties"),
        (closed() | {"additionalProperties": True}, "/additionalProperties", "Only false"),
        (closed() | {"$defs": {"unused": {"type": "object"}}}, "/$defs/unused", "additionalProperties"),
    ],
)
def test_strict_is_openai_s_rule(document: Any, pointer: str, word: str) -> None:
    found, reason = refusal(document, strict=True)
    assert found == pointer
    assert word in reason
    parse_schema(document, strict=False)


@pytest.mark.parametrize(
    ("definitions", "pointer"),
    [
        ({"a": {"$ref": "#/$defs/a"}}, "/$defs/a/$ref"),
        ({"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "/$defs/a/$ref"),
        ({"a": {"anyOf": [STRINGS, {"$ref": "#/$defs/a"}]}}, "/$defs/a/anyOf/1"),
        (
            {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"anyOf": [{"anyOf": [{"$ref": "#/$defs/a"}]}]}},
            "/$defs/b/anyOf/0/anyOf/0",
        ),
    ],
)
def test_a_cycle_without_progress_is_refused(definitions: Any, pointer: str) -> None:
    """A check by it would never end, as it would ask about the same value again."""
    found, reason = refusal({"type": "object", "$defs": definitions})
    assert found == pointer
    assert "refers to itself" in reason


def test_a_reference_may_name_any_schema_of_the_document() -> None:
    schema = parse_schema(closed(a={"type": "integer"}, b={"$ref": "#/properties/a"}), strict=False)
    assert [bool(faults_of(schema, {"a": 1, "b": value})) for value in (1, "x")] == [False, True]


def test_references_are_fragments_of_addresses() -> None:
    document = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/x~1%20y"}, "b": {"$ref": "#/$defs/u/anyOf/1"}},
        "$defs": {"x/ y": {"const": 1}, "u": {"anyOf": [{"const": 1}, {"const": 2}]}},
    }
    schema = parse_schema(document, strict=False)
    assert not faults_of(schema, {"a": 1, "b": 2})
    assert [fault.pointer for fault in faults_of(schema, {"a": 2, "b": 1})] == ["/a", "/b"]


def nested(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = closed(leaf=STRINGS)
    for _ in range(levels - 1):
        document = closed(inner={"anyOf": [document, {"type": "null"}]})
    return document


def test_ten_levels_are_allowed() -> None:
    parse_schema(nested(10), strict=True)
    parse_schema(closed(a={"$ref": "#/$defs/d"}) | {"$defs": {"d": nested(10)}}, strict=True)
    pointer, reason = refusal(nested(11))
    assert pointer == "/properties/inner/anyOf/0" * 10
    assert "10 levels" in reason
    arrays: dict[str, Any] = STRINGS
    for _ in range(10):
        arrays = {"type": "array", "items": arrays}
    assert refusal({"type": "object", "properties": {"a": arrays}})[0] == "/properties/a" + "/items" * 9


def test_the_limits_of_size() -> None:
    values = {"type": "object", "properties": {"a": {"enum": list(range(500))}, "b": {"enum": list(range(500))}}}
    parse_schema(values, strict=False)
    values["properties"]["b"]["enum"].append(500)  # type: ignore[index]
    assert refusal(values)[0] == "/properties/b/enum"
    document = {"type": "object", "title": ""}
    document["title"] = "é" * ((32_768 - len(json.dumps(document, separators=(",", ":")))) // 2)
    parse_schema(document, strict=False)
    pointer, reason = refusal(document | {"$id": ""})
    assert pointer == ""
    assert "32,768 bytes" in reason


def test_the_limit_of_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.features.structured.schema.schema.SCHEMA_PROPERTIES_MOST", 3)
    parse_schema(closed(a=closed(b=STRINGS), c=STRINGS), strict=True)
    assert refusal(closed(a=closed(b=STRINGS, d=STRINGS), c=STRINGS))[0] == "/properties/a/properties"


def alike(count: int, **more: Any) -> dict[str, Any]:
    choices = [{"type": "object", "properties": {"n": {"minimum": number}}, **more} for number in range(count)]
    return {"type": "object", "properties": {"a": {"anyOf": choices}}}


def told_apart(**properties: Any) -> Any:
    return closed(n={"type": "integer"}, **properties)


@pytest.mark.parametrize(
    "choices",
    [
        [{"type": "object", "properties": {"kind": {"const": str(number)}}} for number in range(50)],
        [{"type": "object", "properties": {"k": {"enum": [str(number), f"x{number}"]}}} for number in range(50)],
        [told_apart(**{f"p{number}": STRINGS}) for number in range(50)],
        [{"const": str(number)} for number in range(500)],
        [{"const": [number]} for number in range(300)]
        + [{"type": "string", "enum": [str(number)]} for number in range(50)],
        [{"type": "string", "minLength": number} for number in range(4)]
        + [{"type": "number", "minimum": number} for number in range(4)],
    ],
)
def test_alternatives_that_are_told_apart_have_no_limit(choices: list[Any]) -> None:
    parse_schema({"type": "object", "properties": {"a": {"anyOf": choices}}}, strict=False)


def test_the_limit_of_alternatives_that_nothing_tells_apart() -> None:
    parse_schema(alike(4), strict=False)
    pointer, reason = refusal(alike(5))
    assert pointer == "/properties/a/anyOf"
    assert "4 schemas" in reason
    three = alike(3)["properties"]["a"]
    parse_schema({"type": "object", "properties": {"a": three, "b": three}}, strict=False)
    nested = {"type": "object", "properties": {"a": {"anyOf": [three, {"$ref": "#/$defs/b"}]}}, "$defs": {"b": three}}
    assert refusal(nested)[0] == "/properties/a/anyOf"


def test_a_long_chain_of_alternatives_is_counted_without_recursion() -> None:
    """An `anyOf` may contain an `anyOf` hundreds of times."""
    chain = {f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{number + 1}"}]} for number in range(400)}
    parse_schema({"type": "object", "$defs": chain | {"d400": STRINGS}}, strict=False)


def test_the_limit_of_alternatives_in_all() -> None:
    nullable = {"anyOf": [STRINGS, {"type": "null"}]}
    properties = {f"{number}": nullable for number in range(500)}
    parse_schema({"type": "object", "properties": properties}, strict=False)
    assert refusal({"type": "object", "properties": properties | {"more": nullable}})[0] == "/properties/more/anyOf"
    constants = {f"{number}": {"const": number} for number in range(1_000)}
    parse_schema({"type": "object", "properties": constants}, strict=False)
    assert refusal({"type": "object", "properties": constants | {"a": {"const": 1}}})[0] == "/properties/a/const"


def test_the_limit_of_what_constants_consist_of() -> None:
    parse_schema({"type": "object", "properties": {"a": {"const": [0] * 3_999}}}, strict=False)
    assert refusal({"type": "object", "properties": {"a": {"enum": [[0] * 3_999, 1]}}})[0] == "/properties/a/enum"


def test_a_schema_that_was_accepted_before_stays_so() -> None:
    documents: list[dict[str, Any]] = [alike(200), {"type": "object", "properties": {"a": {"const": [0] * 5_000}}}]
    for document in documents:
        refusal(document)
        assert accepted_schema(document).document == document
        assert read_schema(json.dumps(document)).document == document


def test_strict_needs_no_type_where_values_are_named() -> None:
    parse_schema(closed(a={"enum": [1]}, b={"const": {}}, c={"anyOf": [STRINGS]}, d={"$ref": "#"}), strict=True)


def test_a_cycle_with_progress_is_a_schema() -> None:
    tree = closed(value=STRINGS, children={"type": "array", "items": {"$ref": "#"}})
    schema = parse_schema(tree, strict=True)
    value: dict[str, Any] = {"value": "leaf", "children": []}
    for _ in range(5_000):
        value = {"value": "node", "children": [value]}
    assert not faults_of(schema, value)
    assert faults_of(parse_schema(closed(a=tree), strict=False), {"a": value})  # `#` is this root now
