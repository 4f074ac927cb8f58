"""Makes hostile JSON schemas: a collection of them, and good schemas with changes, as a JSON parser returns them."""

import copy
import random
from collections.abc import Iterator
from typing import Any

from tests.support.schema_draws import SchemaDraws

STRINGS = {"type": "string"}


def deep(levels: int, keyword: str) -> Any:
    schema: Any = STRINGS
    for _ in range(levels):
        inner = {"a": schema} if keyword in {"properties", "$defs"} else [schema] if keyword == "anyOf" else schema
        schema = {keyword: inner}
    return schema


def deep_value(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


def root(**keywords: Any) -> dict[str, Any]:
    names = {"ref": "$ref", "defs": "$defs"}
    return {"type": "object", **{names.get(name, name): value for name, value in keywords.items()}}


def prop(schema: Any, **keywords: Any) -> dict[str, Any]:
    return root(properties={"a": schema}, **keywords)


def corpus() -> Iterator[Any]:
    """Yield schemas that are deep, wide, cyclic or huge, and documents that are not schemas at all."""
    for levels in (9, 10, 11, 40, 99, 101, 1_000, 5_000):
        yield from _deep_ones(levels)
    for count in (1_000, 1_001, 3_000):
        yield from _wide_ones(count)
        yield from _cyclic_ones(count)
    yield root(properties={f"p{number}": {} for number in range(20_000)})
    yield from _dense_ones()
    for text in ("x" * 32_000, "x" * 40_000, "~" * 20_000, "/" * 20_000, "\ud800", "é" * 17_000, "\x00"):
        yield from _ones_with_text(text)
    infinite = float("inf")
    for number in (
        *(float("nan"), infinite, -infinite, 10**400, -(10**400), 1e308, 5e-324, True, None, "1", -1, 0, 2**53),
    ):
        for keyword in NUMBER_KEYWORDS:
            yield prop({keyword: number})
        yield prop({"enum": [number, {"a": [number]}]})
    for document in (*NO_SCHEMAS, root(ref="#"), root(anyOf=[{"$ref": "#"}])):
        yield document
        yield from (prop(document), prop({"items": document}), prop({"anyOf": document}))
        yield prop({"anyOf": [document, document]})
        yield from (root(defs={"a": document}), root(defs=document), root(properties=document))
    for reference in REFERENCES:
        yield prop({"$ref": reference}, defs={"a": {"anyOf": [STRINGS]}})


NO_SCHEMAS: tuple[Any, ...] = (
    *(None, True, 1, "object", [], {}, {"type": None}, {"type": {}}, {"type": "object", "properties": None}),
)
NUMBER_KEYWORDS = (
    *("minimum", "maximum", "exclusiveMinimum", "multipleOf", "minItems", "maxLength", "const", "default"),
    *("enum", "format"),
)
REFERENCES = (
    *("#/", "#//", "#/$defs/", "#/$defs/a/0", "#/$defs/%", "#/$defs/%ff", "#%2F$defs/a", "#/$defs/~", "#/$defs/-1"),
    *("file:///etc/passwd", "http://[", "", "a", "#/$defs/a/anyOf/99999999999", "#/$defs/a/anyOf/٣", "##", 1),
)


def _deep_ones(levels: int) -> Iterator[Any]:
    for keyword in ("properties", "items", "anyOf", "not", "$defs", "additionalProperties", "allOf"):
        yield prop(deep(levels, keyword))
        yield root(defs={"a": deep(levels, keyword)})
    for keyword in ("default", "examples", "const"):
        yield prop({keyword: deep_value(levels)})
    yield prop({"enum": [deep_value(levels)]})


def _wide_ones(count: int) -> Iterator[Any]:
    yield root(properties={f"p{number}": {} for number in range(count)})
    yield root(properties={f"p{number}": {"$ref": "#"} for number in range(count)})
    yield root(required=[f"p{number}" for number in range(count)])
    yield prop({"enum": list(range(count))})
    yield prop({"enum": [[number] for number in range(count)]})
    yield prop({"enum": [number * (2**61 - 1) for number in range(count)]})  # All of these numbers have the same hash.
    yield prop({"enum": ["x"] * count})
    yield prop({"anyOf": [STRINGS] * count})
    yield prop({"anyOf": [{"const": number} for number in range(count)]})
    yield prop({"type": ["string"] * count})
    yield prop({"examples": [0] * count})


def _cyclic_ones(count: int) -> Iterator[Any]:
    chain = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(count)}
    yield root(defs=chain)
    yield root(defs=chain | {f"d{count}": STRINGS})
    yield root(defs=chain | {f"d{count}": {"$ref": "#/$defs/d0"}})
    steps = {f"d{number}": {"anyOf": [{"$ref": f"#/$defs/d{number + 1}"}, {}]} for number in range(count)}
    yield root(defs=steps | {f"d{count}": {}})
    yield root(defs=steps | {f"d{count}": {"anyOf": [{"$ref": "#/$defs/d0"}]}})
    yield root(defs={f"d{number}": {"anyOf": [{"$ref": "#/$defs/d0"}]} for number in range(count)})


def _dense_ones() -> Iterator[Any]:
    """Yield schemas that pack as many small schemas, or values of `const`, as possible into 32 KB."""
    for count, schema in (
        *((3_300, {}), (1_500, {"type": "null"}), (1_700, {"title": ""}), (1_700, {"items": {}})),
        *((1_500, {"minimum": 1}), (1_000, {"const": 0}), (1_000, {"enum": ["a"]}), (1_200, {"type": ["null"]})),
        *((1_500, {"$ref": "#"}), (900, {"anyOf": [{"$ref": "#"}]}), (300, {"anyOf": [{"const": 0}, {"const": 1}]})),
    ):
        schemas: dict[str, Any] = {f"{number:x}": schema for number in range(count)}
        yield root(properties=schemas)
        yield root(defs=schemas)
        yield prop({"anyOf": list(schemas.values())[:1_000]})
        yield prop({"anyOf": list(schemas.values())})
    yield root(anyOf=[{}] * 10_000)
    yield prop({"anyOf": [{"required": ["t"], "properties": {"t": {"const": number}}} for number in range(500)]})
    yield prop({"const": [{}] * 10_000})
    yield prop({"const": [{}] * 3_999})
    yield prop({"const": [0] * 3_999})
    yield prop({"enum": [[0, 0, 0]] * 1_000})
    yield prop({"enum": [{"a": {}}] * 1_000})


def _ones_with_text(text: str) -> Iterator[Any]:
    yield prop({"description": text})
    yield root(properties={text: STRINGS})
    yield prop({"$ref": f"#/$defs/{text}"}, defs={text: STRINGS})
    yield prop({"pattern": text, "type": "string"})
    yield prop({"format": text})
    yield prop({text: 1})
    yield root(required=[text])
    yield prop({"const": {text: text}})


HOSTILE: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 1e308, float("nan"), 10**310, "", "#", "#/$defs/A", "\ud800", [], {}, [[]], [None]),
    *({"$ref": "#"}, {"$ref": "#/$defs/A"}, {"anyOf": [{"$ref": "#"}]}, {"oneOf": []}, ["a", "a"], {"type": "object"}),
)


def mutations(seed: int, count: int) -> Iterator[Any]:
    """Yield good schemas in which one to three values were replaced by hostile values."""
    drawn = random.Random(seed)
    for number in range(count):
        document = SchemaDraws(f"{seed}/{number}").schema()
        for _ in range(drawn.randrange(1, 4)):
            holder = drawn.choice([one for one in _containers(document) if one])
            key = drawn.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            holder[key] = copy.deepcopy(drawn.choice(HOSTILE))
        yield document


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from _containers(one)


# Bodies of requests that the Worker refuses while it reads the body, before it checks the schema.
BODIES = tuple(
    f'{{"outputSchema": {{"type": "object", {inner}}}}}'
    for inner in (
        '"properties": {"a": {}, "a": {}}',
        '"type": "array"',
        '"minimum": NaN',
        '"minimum": -Infinity',
        '"minimum": 1e400',
        f'"minimum": {"9" * 5_000}',
        f'"a": {"[" * 105}{"]" * 105}',
    )
)
