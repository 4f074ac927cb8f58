"""Measures how long it takes to parse a schema, and to read and check a structured output of 100,000 characters."""

import json
import time
from collections.abc import Callable
from typing import Any

from bench.figures import Figure
from src.features.structured.forms import judge
from src.features.structured.reading import read_output
from src.features.structured.schema.check import faults_of
from src.features.structured.schema.keywords import SchemaRefused
from src.features.structured.schema.schema import OutputSchema, accepted_schema, parse_schema
from tests.support.evil_outputs import evil_outputs
from tests.support.evil_schemas import corpus

CHARS = 100_000
# The bounds, in ms, of checking an output and of parsing a hostile schema in CPython. `bench.structured_pyodide` has
# those of the Workers' runtime, which takes two to three times as long.
CHECK_MS_MOST, HOSTILE_MS_MOST = 60, 12
SLOWEST = 8  # So many hostile schemas, the slowest in a rough measurement, are measured well.
ROUNDS, ROUND_SECONDS = 3, 0.05  # A round repeats a work for so long, because some clocks of a processor are coarse.


def closed(**properties: Any) -> dict[str, Any]:
    """Return the strict schema of an object with the given properties."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


PERSON = closed(
    name={"type": "string", "minLength": 1},
    age={"type": ["integer", "null"], "minimum": 0},
    role={"type": "string", "enum": ["author", "reader"]},
    born={"type": "string", "format": "date"},
    tags={"type": "array", "items": {"type": "string"}},
)
UNION = {"anyOf": [closed(kind={"const": kind}, value={"type": "integer"}) for kind in ("a", "b", "c")]}
TWINS = {"anyOf": [closed(list={"type": "array", "items": item}) for item in ({"type": "number"}, {"minimum": 0})]}
NAMED = {"anyOf": [closed(**{name: {"type": "string"}}, value={"type": "integer"}) for name in ("a", "b", "c")]}
# Each work has a name, the schema of an item, and an item.
WORKS: dict[str, tuple[dict[str, Any], Any]] = {
    "people": (PERSON, {"name": "Ann Example", "age": 33, "role": "reader", "born": "1990-02-03", "tags": ["x", "yy"]}),
    "whole numbers with a bound": ({"type": "integer", "minimum": 0}, 1),
    "multiples of 0.01": ({"type": "number", "multipleOf": 0.01}, 10.25),
    "alternatives with a constant": (UNION, {"kind": "c", "value": 1}),
    "alternatives with other names": (NAMED, {"c": "x", "value": 1}),
    "alternatives that all fit so far": (TWINS, {"list": [1, "a few words", 2] * 3}),
    "numbers with alternatives": ({"anyOf": [{"type": "integer", "minimum": 5}, {"maximum": 5}]}, 12_345),
    "arrays of three numbers": ({"type": "array", "items": {"type": "number", "minimum": 0}}, [12.5, 47.25, 3.0]),
    "addresses of mail": ({"type": "string", "format": "email"}, "a@b"),
    "an enum of arrays": ({"enum": [[10, 20], [20, 30]]}, [10, 20]),
    "multiples of 3e-300": ({"multipleOf": 3e-300}, 3e300),
}
DEFINITIONS, LEVELS = 200, 60
HOSTILE_TEXTS = ("{", '{"', '"', "\\", "<think>", "</think>", "[{", "{,", "\n", ",", "9", '{"a":1,}', "[ \n", "1e9,")


def measure(check_ms: float = CHECK_MS_MOST, hostile_ms: float = HOSTILE_MS_MOST) -> list[Figure]:
    """Measure the processor time of each work, the shortest of ROUNDS."""
    figures = []
    for name, (item, value) in WORKS.items():
        schema = parse_schema(closed(items={"type": "array", "items": item}), strict=False)
        count = CHARS // (len(json.dumps(value, separators=(",", ":"))) + 1)
        output = {"items": [value] * count}
        text = json.dumps(output, separators=(",", ":"))
        assert judge(schema, text, None).output == text
        loaded = json.loads(text)
        figures += [
            Figure(
                f"checking 100,000 characters, {name}",
                _ms(faults_of, schema, loaded),
                "ms",
                check_ms,
            ),
            Figure(f"judging them, {name}", _ms(judge, schema, text, None), "ms"),
            Figure(f"judging them after a repair, {name}", _ms(judge, schema, f"So: {text}", None), "ms"),
        ]
    for name, (schema, loaded) in (
        (f"{DEFINITIONS} definitions that contain each other", _definitions()),
        ("hundreds of alternatives in alternatives, of which none fits", _alternatives_in_alternatives()),
    ):
        size = len(json.dumps(loaded, separators=(",", ":")))
        took = _ms(faults_of, schema, loaded) * CHARS / size
        figures.append(Figure(f"checking 100,000 characters, {name}", took, "ms", check_ms))
    for name, document, text in evil_outputs():
        schema, loaded = parse_schema(document, strict=False), json.loads(text)
        took = _ms(faults_of, schema, loaded) * CHARS / len(text)
        figures.append(Figure(f"checking 100,000 hostile characters, {name}", took, "ms", check_ms))
    hostile = max(_ms(read_output, (unit * CHARS)[:CHARS]) for unit in HOSTILE_TEXTS)
    documents = list(corpus())
    slowest = sorted(documents, key=_once, reverse=True)[:SLOWEST]
    schemas = max(_ms(_parse, document) for document in slowest)
    return [
        *figures,
        Figure("reading 100,000 hostile characters, the slowest", hostile, "ms"),
        Figure(f"parsing a hostile schema, the slowest of {len(documents)}", schemas, "ms", hostile_ms),
    ]


def _definitions() -> tuple[OutputSchema, Any]:
    """Return a schema and a value with a single value of each definition at each level, so nothing can be grouped."""
    definitions = {
        f"a{number}": {
            "type": "object",
            "properties": {"a": {"$ref": f"#/$defs/a{(number + 1) % DEFINITIONS}"}, "b": {"type": "integer"}},
        }
        for number in range(DEFINITIONS)
    }
    properties = {f"p{number}": {"$ref": f"#/$defs/a{number}"} for number in range(DEFINITIONS)}
    document = {"type": "object", "properties": properties, "$defs": definitions}
    return parse_schema(document, strict=False), json.loads(json.dumps(dict.fromkeys(properties, _chain(LEVELS))))


def _chain(levels: int) -> object:
    value: object = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def _alternatives_in_alternatives() -> tuple[OutputSchema, Any]:
    """Return a schema with 200 alternatives inside two, and a value. No item of the value fits an alternative.

    A submission may not have such a schema, but a task may have one that an older release accepted.
    """
    items = {"anyOf": [closed(a={"type": "array", "items": {"minimum": number}}) for number in range(200)]}
    inner = {"$ref": "#/$defs/list"}
    outer = {"anyOf": [closed(l=inner), closed(l=inner, z={"type": "null"}), {"properties": {"l": inner}}]}
    document = closed(o=outer) | {"$defs": {"list": {"type": "array", "items": items}}}
    value = {"o": {"l": [{"a": [-1, "x"]} for _ in range(CHARS // 15)]}}
    schema = accepted_schema(document)
    assert faults_of(schema, value)
    return schema, value


def _parse(document: Any) -> None:
    try:
        parse_schema(document, strict=False)
    except SchemaRefused:
        return


def _once(document: Any) -> float:
    """Measure roughly how long a hostile schema takes."""
    started = time.thread_time()
    for _ in range(ROUNDS):
        _parse(document)
    return time.thread_time() - started


def _ms(work: Callable[..., object], *arguments: Any) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        times, started = 0, time.thread_time()
        while (took := time.thread_time() - started) < ROUND_SECONDS or not times:
            work(*arguments)
            times += 1
        best = min(best, took / times)
    return best * 1_000
