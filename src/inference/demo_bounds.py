"""Finds what several JSON Schemas together allow, for the demo provider: types, listed values, sizes and numbers.

The functions take schemas whose references and alternatives (`anyOf`) were already followed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

Node = Mapping[str, Any]
Nodes = tuple[Node, ...]

_SCALARS = ("string", "integer", "number", "boolean", "null")
# The keywords from which the type of a schema without `type` is guessed.
_HINTS: Final = (
    ("object", ("properties", "required", "additionalProperties")),
    ("array", ("items", "minItems", "maxItems")),
    ("string", ("format", "minLength", "maxLength", "pattern")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


class Impossible(Exception):
    """Raised if no value fits a schema, or only a value that is nested too deeply."""


def listed(node: Node) -> Sequence[object]:
    """Return the values that `enum` and `const` of one schema allow."""
    if "const" not in node:
        return list(node["enum"])
    return [node["const"]] if "enum" not in node or any(same(node["const"], one) for one in node["enum"]) else []


def kinds(flat: Nodes) -> list[str]:
    """Return the types that all schemas allow, the most likely type first."""
    stated = [
        ["integer", *given] if "number" in given else given
        for node in flat
        if "type" in node
        for given in [[node["type"]] if isinstance(node["type"], str) else list(node["type"])]
    ]
    if stated:
        return [kind for kind in stated[0] if all(kind in given for given in stated)]
    hinted = [kind for kind, words in _HINTS if any(word in node for node in flat for word in words)]
    return list(dict.fromkeys([*hinted, *_SCALARS, "array", "object"]))


def kind_of(value: object) -> set[str]:
    """Return the JSON Schema types of a value: a whole number is both an integer and a number."""
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int | float):
        return {"number", "integer"} if isinstance(value, int) or value.is_integer() else {"number"}
    names = {str: "string", list: "array", dict: "object", type(None): "null"}
    return {names[type(value)]}


def same(one: object, two: object) -> bool:
    """Whether two JSON values are equal: 1 equals 1.0, and true does not equal 1."""
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[name], two[name]) for name in one)
    return isinstance(one, bool) == isinstance(two, bool) and one == two


def span(flat: Nodes, low: str, high: str) -> tuple[int, float]:
    """Return the least and the greatest size that all schemas allow.

    Raises Impossible if the schemas together allow no size.
    """
    least = max((node.get(low, 0) for node in flat), default=0)
    most = min((node.get(high, math.inf) for node in flat), default=math.inf)
    if least > most:
        raise Impossible
    return math.ceil(least), most


def is_within(value: object, flat: Nodes) -> bool:
    """Whether a value is within the bounds of all schemas: a number's value, or the length of a text or a list."""
    if isinstance(value, str):
        return all(node.get("minLength", 0) <= len(value) <= node.get("maxLength", math.inf) for node in flat)
    if isinstance(value, list):
        return all(node.get("minItems", 0) <= len(value) <= node.get("maxItems", math.inf) for node in flat)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    return all(
        node.get("minimum", value) <= value <= node.get("maximum", value)
        and ("exclusiveMinimum" not in node or node["exclusiveMinimum"] < value)
        and ("exclusiveMaximum" not in node or value < node["exclusiveMaximum"])
        and ("multipleOf" not in node or _exact(value) % _exact(node["multipleOf"]) == 0)
        for node in flat
    )


def _exact(value: int | float) -> Fraction:
    """Return a number as the exact fraction that its decimal digits mean: 0.1 is one tenth."""
    return Fraction(str(value))


def candidates(flat: Nodes, figure: int, *, whole: bool) -> Iterator[int | float]:
    """Yield numbers that may fit the schemas: the number `figure`, and the numbers nearest to the bounds."""
    steps = [_exact(node["multipleOf"]) for node in flat if "multipleOf" in node] + ([Fraction(1)] if whole else [])
    lows = [node[name] for node in flat for name in ("minimum", "exclusiveMinimum") if name in node]
    highs = [node[name] for node in flat for name in ("maximum", "exclusiveMaximum") if name in node]
    low, high = max(lows, default=None), min(highs, default=None)
    near: list[int | float] = [figure, *(bound for bound in (low, high) if bound is not None)]
    if steps:
        numerator = math.lcm(*(step.numerator for step in steps))
        step = Fraction(numerator, math.gcd(*(step.denominator for step in steps)))
        for one in near:
            multiple = _exact(one) // step
            for times in (multiple, multiple + 1, multiple - 1):
                yield _number_of(times * step)
        return
    yield from near
    if low is not None and high is not None:
        yield low / 2 + high / 2
    if low is not None:
        yield from (low + 1, math.nextafter(low, math.inf))
    if high is not None:
        yield from (high - 1, math.nextafter(high, -math.inf))


def _number_of(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)
