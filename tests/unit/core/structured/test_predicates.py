"""Predicates test many values at once and one by one, with the same answer."""

from typing import Any

import pytest

from src.core.structured.predicates import fits_alone, misfits
from src.core.structured.schema import parse_schema

VALUES: list[Any] = [
    *(-2, -1, 0, 1, 2, 3, 7, 10**20, 2**31, -(2**31)),
    *(-1.0, 0.0, 0.5, 1.0, 1.5, 2.5, 1e20, 1e300, 1e-300),
    *(True, False, None, "", "a", "ab", "2020-02-29", "2021-02-29", "1"),
    *([], [1], [1.0], [True], [[1]], {}, {"a": 1}, {"a": True}, {"a": 1, "b": 2}, {"b": 2, "a": 1.0}),
]
SCHEMAS: list[dict[str, Any]] = [
    {"enum": [1, 2, 10**20]},
    {"enum": [-1, 0.5, 1e300]},
    {"enum": [True, None, "a"]},
    {"enum": [[1], {"a": 1}, {"a": 1, "b": 2}]},
    {"enum": [number * 2147483647 / 2 for number in range(1, 40, 2)] + [0.5]},
    {"minimum": 1, "exclusiveMaximum": 3},
    {"exclusiveMinimum": -1, "maximum": 1e20},
    {"type": "integer", "multipleOf": 2},
    {"type": "integer", "multipleOf": 0.01},
    {"multipleOf": 1.5},
    {"multipleOf": 1e-299},
    {"minLength": 1, "maxLength": 2},
    {"format": "date", "minLength": 1},
    {"minItems": 1, "maxItems": 1},
    {"required": ["a"]},
    {"type": ["object", "null"], "properties": {"a": {}}, "additionalProperties": False},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_many_values_are_tested_as_each_alone(schema: dict[str, Any]) -> None:
    """A list of values of one type, and of all types, has the misfits that its values have one by one."""
    document = {"type": "object", "properties": {"a": schema}}
    node = parse_schema(document, strict=False).root.properties["a"]
    alone = [at for at, value in enumerate(VALUES) if not fits_alone(node, value)]
    assert misfits(node, VALUES) == alone
    assert 0 < len(alone) < len(VALUES)
    for kind in set(map(type, VALUES)):
        some = [value for value in VALUES if type(value) is kind]
        assert misfits(node, some * 2) == [at for at, value in enumerate(some * 2) if not fits_alone(node, value)]
