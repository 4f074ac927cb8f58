"""Joining outputs: each rule, null and absent values, what cannot be joined, and the result as value and as text."""

import asyncio
import json
import tracemalloc
from typing import Any

import pytest

from src.features.structured.feature import STRUCTURED
from src.features.structured.joining import joiner_for
from src.features.structured.schema.schema import parse_schema
from src.kernel.domain import limits
from src.kernel.domain.errors import NotJoinable
from src.kernel.domain.structure import Structure
from src.kernel.domain.task import Reduce, Source, TaskOptions
from src.kernel.store import rows
from src.kernel.store.claims import CallKey, Output

from .test_schema import closed

NUMBER, STRING, BOOLEAN = {"type": "number"}, {"type": "string"}, {"type": "boolean"}
STRINGS = {"type": "array", "items": STRING}


def joined(document: dict[str, Any], rules: dict[str, str], *values: dict[str, Any]) -> dict[str, Any]:
    joiner = joiner_for(parse_schema(document, strict=False), rules)
    for value in values:
        joiner.add(value)
    return joiner.result()


def refusal(document: dict[str, Any], rules: dict[str, str] | None = None) -> tuple[str, str]:
    with pytest.raises(NotJoinable) as refused:
        joiner_for(parse_schema(document, strict=False), rules or {})
    assert refused.value.code == "not_joinable"
    assert refused.value.reason.endswith(".")
    return refused.value.pointer, refused.value.reason


@pytest.mark.parametrize(
    ("schema", "rule", "values", "expected"),
    [
        (STRING, "first", ["a", "b", "c"], "a"),
        (STRING, "last", ["a", "b", "c"], "c"),
        (NUMBER, "sum", [1, 2, 3], 6),
        (NUMBER, "sum", [0.1, 0.2], 0.3),
        (NUMBER, "sum", [1, 0.5, -1e-3], 1.499),
        (NUMBER, "sum", [2**60, 1], 2**60 + 1),
        (NUMBER, "sum", [1.0, 2.0], 3.0),
        (NUMBER, "min", [3, 1.5, 2], 1.5),
        (NUMBER, "max", [1, 3, 3.0], 3),
        (NUMBER | {"minimum": 0, "maximum": 9}, "max", [1, 9], 9),
        (BOOLEAN, "any", [False, True, False], True),
        (BOOLEAN, "any", [False, False], False),
        (BOOLEAN, "all", [True, False, True], False),
        (BOOLEAN, "all", [True, True], True),
        (STRINGS, None, [["a"], [], ["a", "b"]], ["a", "a", "b"]),
        (STRINGS, "union", [["a", "b"], ["b", "c"]], ["a", "b", "c"]),
        ({"type": "array"}, "union", [[1, True, [1]], [1.0, [1.0], {"a": 1.0}, {"a": 1}]], [1, True, [1], {"a": 1.0}]),
        (STRINGS | {"maxItems": 2}, "last", [["a"], ["b", "c"]], ["b", "c"]),
        ({"type": "object"}, "first", [{"x": 1}, {"y": 2}], {"x": 1}),
        ({"enum": ["a", 1]}, "first", [1, "a"], 1),
        ({}, "last", [1, {"a": []}], {"a": []}),
    ],
)  # fmt: skip
def test_each_rule(schema: Any, rule: str | None, values: list[Any], expected: Any) -> None:
    found = joined(closed(a=schema), {"/a": rule} if rule else {}, *({"a": value} for value in values))["a"]
    assert (found, type(found)) == (expected, type(expected))


def test_null_and_absent_values_say_nothing() -> None:
    document: dict[str, Any] = {
        "type": "object",
        "properties": {
            "first": {"anyOf": [STRING, {"type": "null"}]},
            "sum": {"type": ["number", "null"]},
            "list": {"anyOf": [STRINGS, {"type": "null"}]},
            "object": {"anyOf": [closed(l=STRINGS), {"type": "null"}]},
        },
        "additionalProperties": False,
    }
    rules = {"/first": "first", "/sum": "sum"}
    nulls: dict[str, Any] = dict.fromkeys(document["properties"])
    full = {"first": "a", "sum": 1, "list": ["a"], "object": {"l": ["a"]}}
    assert joined(document, rules, {}) == {}
    assert joined(document, rules, {}, nulls, {}) == nulls
    assert joined(document, rules, nulls, full, nulls, {}) == full


def test_objects_are_joined_field_by_field() -> None:
    document = closed(**{"x/y": closed(n=NUMBER, deep=closed(l=STRINGS)), "s": STRING})
    values = ({"s": "a", "x/y": {"deep": {"l": ["p"]}, "n": 1}}, {"s": "b", "x/y": {"deep": {"l": ["q"]}, "n": 2}})
    found = joined(document, {"/x~1y/n": "sum", "/s": "last"}, *values)
    assert found == {"x/y": {"n": 3, "deep": {"l": ["p", "q"]}}, "s": "b"}
    assert list(found) == ["x/y", "s"]


@pytest.mark.parametrize("rule", [{}, {"/l": "union"}], ids=["all", "union"])
def test_a_fold_holds_the_values_once_as_text(rule: dict[str, str]) -> None:
    """Small items take little more than their JSON: as Python's objects they would take several times as much."""
    schema = parse_schema(closed(l={"type": "array"}), strict=False)
    for _ in range(2):
        joiner = joiner_for(schema, rule)
        tracemalloc.start()
        for number in range(20):
            joiner.add({"l": [{"n": index % 100 if rule else number, "t": [1, 2, "ab"] * 3} for index in range(300)]})
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        size = sum(map(len, joiner.held()))
        assert (size > 200_000) is not bool(rule)
        assert held < 1.2 * size + 50_000


def test_a_slice_looks_at_few_items() -> None:
    """An output of the greatest length is added in slices, and none has many items of a union."""
    joiner = joiner_for(parse_schema(closed(l={"type": "array"}), strict=False), {"/l": "union"})
    worked = list(joiner.adding({"l": [*range(40_000), *[1] * 60_000]}))
    assert len(worked) > 20
    assert max(worked) <= limits.WORK_CHARS_AT_ONCE
    assert joiner.result() == {"l": list(range(40_000))}


@pytest.mark.parametrize(
    ("document", "rules", "pointer", "word"),
    [
        (closed(s=STRING), {}, "/s", "needs a rule"),
        (closed(o=closed(s=STRING)), {}, "/o/s", "needs a rule"),
        (closed(s={"const": "a"}), {}, "/s", "needs a rule"),
        (closed(u={"anyOf": [STRINGS, STRING]}), {}, "/u", "needs a rule"),
        (closed(l=STRINGS | {"maxItems": 5}), {}, "/l", "maxItems"),
        (closed(l=STRINGS | {"maxItems": 5}), {"/l": "union"}, "/l", "maxItems"),
        (closed(l={"anyOf": [STRINGS | {"maxItems": 5}, {"type": "null"}]}), {}, "/l", "maxItems"),
        (closed(l={"anyOf": [STRINGS, {"type": "null"}], "maxItems": 5}), {}, "/l", "anyOf"),
        (closed(l=STRINGS | {"minItems": 2}), {"/l": "union"}, "/l", "minItems"),
        (closed(l={"enum": [["a"]]}), {}, "/l", "enum"),
        (closed(l=STRINGS), {"/l": "sum"}, "/l", "not for an array"),
        (closed(n=NUMBER | {"minimum": 0}), {"/n": "sum"}, "/n", "bounds"),
        (closed(n=NUMBER | {"multipleOf": 1}), {"/n": "sum"}, "/n", "bounds"),
        (closed(n={"enum": [1, 2]}), {"/n": "sum"}, "/n", "enum"),
        (closed(n={"anyOf": [NUMBER, {"type": "integer"}]}), {"/n": "sum"}, "/n", "anyOf"),
        (closed(n={"anyOf": [NUMBER, {"type": "null"}], "maximum": 5}), {"/n": "sum"}, "/n", "bounds"),
        (closed(s=STRING), {"/s": "sum"}, "/s", "not for a field of this type"),
        (closed(s=STRING), {"/s": "union"}, "/s", "not for a field of this type"),
        (closed(s=BOOLEAN), {"/s": "max"}, "/s", "not for a field of this type"),
        (closed(s=NUMBER), {"/s": "any"}, "/s", "not for a field of this type"),
        (closed(s={"type": ["string", "number"]}), {"/s": "min"}, "/s", "not for a field of this type"),
        (closed(o=closed()), {"/o": "max"}, "/o", "not for a field of this type"),
        (closed(s=STRING), {"/s": "concat"}, "/s", "not for a field"),
        (closed(s=STRING), {"/s": "first", "/t": "first"}, "/t", "names no field"),
        (closed(l={"type": "array", "items": closed(s=STRING)}), {"/l/0/s": "first"}, "/l/0/s", "names no field"),
        (closed(o=closed(s=STRING)), {"/o": "first", "/o/s": "first"}, "/o/s", "names no field"),
        (closed(l=STRINGS), {"": "first"}, "", "not a JSON pointer to a field"),
        (closed(s=STRING), {"s": "first"}, "s", "not a JSON pointer"),
        (closed(s=STRING), {"/s~2": "first"}, "/s~2", "not a JSON pointer"),
        ({"type": "object"}, {}, "", "additionalProperties"),
        (closed(o={"type": "object", "properties": {}}), {}, "/o", "additionalProperties"),
        (closed() | {"anyOf": [{}]}, {}, "", "anyOf"),
        (closed(o=closed() | {"const": {}}), {}, "/o", "const"),
        (closed(o={"anyOf": [{"$ref": "#"}, {"type": "null"}]}), {}, "/o", "contains itself"),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_is_refused_with_its_place(document: Any, rules: Any, pointer: str, word: str) -> None:
    found, reason = refusal(document, rules)
    assert found == pointer
    assert word in reason


def test_definitions_that_multiply_are_bounded() -> None:
    next_ones = {number: {"$ref": f"#/$defs/d{number + 1}"} for number in range(40)}
    definitions = {f"d{number}": closed(a=next_one, b=next_one) for number, next_one in next_ones.items()}
    pointer, reason = refusal(closed(r={"$ref": "#/$defs/d0"}) | {"$defs": {**definitions, "d40": STRINGS}})
    assert pointer.startswith("/r/a/a")
    assert "5,000 fields" in reason


def test_definitions_that_are_deep_are_bounded() -> None:
    definitions = {f"d{number}": closed(a={"$ref": f"#/$defs/d{number + 1}"}) for number in range(200)}
    document = closed(r={"$ref": "#/$defs/d0"}) | {"$defs": {**definitions, "d200": STRINGS}}
    assert refusal(document)[0] == "/r" + "/a" * (limits.VALUE_LEVELS_MOST - 1)


def test_a_sum_that_is_no_double_is_refused_at_the_end() -> None:
    with pytest.raises(NotJoinable, match="largest double") as refused:
        joined(closed(n=NUMBER), {"/n": "sum"}, {"n": 1e308}, {"n": 1e308})
    assert refused.value.pointer == "/n"
    assert joined(closed(n=NUMBER), {"/n": "sum"}, {"n": 1e308}, {"n": 1e308}, {"n": -1e308}) == {"n": 1e308}


SCHEMA = {
    "type": "object",
    "properties": {"people": {"type": "array", "items": {"type": "string"}}, "count": {"type": "integer"}},
    "required": ["people", "count"],
    "additionalProperties": False,
}
FORMED = Structure(has_schema=True, gaps=True)
SOURCE = Source("do", 0, 4, SCHEMA, {"/count": "sum", "/people": "union"})


def result_of(options: TaskOptions, total: int, made: list[Output], source: Source) -> tuple[Any, Any]:
    return asyncio.run(rows.result_of(options, total, made, source, STRUCTURED.joiner_of))[:2]


def outputs(*found: tuple[int, Any]) -> list[Output]:
    return [Output(CallKey(0, at), one if isinstance(one, str) else json.dumps(one), 1) for at, one in found]


def asked(reduce: Reduce, structure: Structure = FORMED) -> TaskOptions:
    return TaskOptions(reduce=reduce, structure=structure)


FIRST, LAST = {"people": ["Anna", "Bo"], "count": 2}, {"people": ["Bo", "Åsa"], "count": 5}


def test_concat_joins_the_values_and_shows_them_as_compact_json() -> None:
    text, value = result_of(asked(Reduce.CONCAT), 3, outputs((0, FIRST), (2, LAST)), SOURCE)
    assert value == {"people": ["Anna", "Bo", "Åsa"], "count": 7}
    assert text == '{"people":["Anna","Bo","Åsa"],"count":7}'


def test_none_lists_values_and_nulls() -> None:
    text, value = result_of(asked(Reduce.NONE), 3, outputs((0, FIRST), (2, LAST)), SOURCE)
    assert value == [FIRST, None, LAST]
    assert text == (json.dumps(FIRST), None, json.dumps(LAST))


def test_a_merge_is_the_one_output() -> None:
    text, value = result_of(asked(Reduce.MERGE), 3, outputs((0, FIRST)), SOURCE)
    assert (text, value) == (json.dumps(FIRST), FIRST)


@pytest.mark.parametrize(
    ("reduce", "text"), [(Reduce.CONCAT, "a\n\nc"), (Reduce.NONE, ("a", None, "c", None)), (Reduce.MERGE, "a\n\nc")]
)
def test_without_a_schema_there_is_no_value(reduce: Reduce, text: object) -> None:
    plain = Source("do", 0, 4)
    assert result_of(asked(reduce, Structure(gaps=True)), 4, outputs((0, "a"), (2, "c")), plain) == (text, None)


def test_a_sum_that_is_no_double_has_no_result() -> None:
    schema = SCHEMA | {"properties": {"n": {"type": "number"}}, "required": ["n"]}
    source = Source("do", 0, 4, schema, {"/n": "sum"})
    assert result_of(asked(Reduce.CONCAT), 2, outputs((0, {"n": 1e308}), (1, {"n": 1e308})), source) == (None, None)
