"""Measures how long it takes to parse a schema, and to read and check a structured output of 100,000 characters."""

import json
import time
from collections.abc import Callable
from typing import Any

from bench.figures import Figure
from src.core.structured.check import faults_of
from src.core.structured.judging import judge
from src.core.structured.reading import read_output
from src.core.structured.schema import SchemaRefused, parse_schema
from tests.support.evil_schemas import corpus

CHARS = 100_000
# The bounds, in ms, of checking an output and of parsing a hostile schema. The Workers' runtime takes about three times
# as long as this Python, some 30 ms for an output.
CHECK_MS_MOST, HOSTILE_MS_MOST = 10, 20


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
# Each work has a name, the schema of an item, and an item.
WORKS: dict[str, tuple[dict[str, Any], Any]] = {
    "people": (PERSON, {"name": "Ann Example", "age": 33, "role": "reader", "born": "1990-02-03", "tags": ["x", "yy"]}),
    "whole numbers with a bound": ({"type": "integer", "minimum": 0}, 1),
    "multiples of 0.01": ({"type": "number", "multipleOf": 0.01}, 0.25),
    "alternatives with a constant": (UNION, {"kind": "c", "value": 1}),
    "alternatives that all fit so far": (TWINS, {"list": [1, "x", 2]}),
}
HOSTILE_TEXTS = ("{", '{"', '"', "\\", "<think>", "</think>", "[{", "{,", "\n", ",", "9", '{"a":1,}', "[ \n", "1e9,")


def measure() -> list[Figure]:
    """Measure the processor time of each work five times, and return the shortest times."""
    figures = []
    for name, (item, value) in WORKS.items():
        schema = parse_schema(closed(items={"type": "array", "items": item}), strict=False)
        count = CHARS // (len(json.dumps(value, separators=(",", ":"))) + 1)
        output = {"items": [value] * count}
        text = json.dumps(output, separators=(",", ":"))
        assert judge(schema, text, None).output == text
        loaded = json.loads(text)
        bound = None if item is TWINS else CHECK_MS_MOST
        figures += [
            Figure(f"checking 100,000 characters, {name}", _ms(faults_of, schema, loaded), "ms", bound),
            Figure(f"judging them, {name}", _ms(judge, schema, text, None), "ms"),
            Figure(f"judging them after a repair, {name}", _ms(judge, schema, f"So: {text}", None), "ms"),
        ]
    hostile = max(_ms(read_output, (unit * CHARS)[:CHARS]) for unit in HOSTILE_TEXTS)
    schemas = max(_ms(_parse, document) for document in corpus())
    return [
        *figures,
        Figure("reading 100,000 hostile characters, the slowest", hostile, "ms"),
        Figure("parsing a hostile schema, the slowest of 500", schemas, "ms", HOSTILE_MS_MOST),
    ]


def _parse(document: Any) -> None:
    try:
        parse_schema(document, strict=False)
    except SchemaRefused:
        return


def _ms(work: Callable[..., object], *arguments: Any) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.thread_time()
        work(*arguments)
        best = min(best, time.thread_time() - started)
    return best * 1_000
