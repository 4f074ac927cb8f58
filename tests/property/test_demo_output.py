"""The demo provider's structured output fits any schema whose parts do not restrict each other."""

import importlib
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from src.features.demo.demo import formed
from tests.support.tiers import sized

jsonschema: Any = importlib.import_module("jsonschema_rs")

_TEXT = "The lamp of the lighthouse burnt for 90 years. Mr. Hale trimmed it at 7. 灯塔立在北面的礁石上。"
_NAMES = ["a", "b", "name", "é", "x y", "1"]
_FORMATS = ["date-time", "date", "time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
_DEFINED = ["one", "two", "three"]
_LISTED = st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["lamp", "", "é", 0.5, [1], {"a": None}])


def _bounded(low: str, high: str, least: int, most: int) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(st.integers(least, most), st.integers(least, most)).map(sorted)
    return pairs.flatmap(
        lambda pair: st.sampled_from([{}, {low: pair[0]}, {high: pair[1]}, {low: pair[0], high: pair[1]}])
    )


_STRINGS = _bounded("minLength", "maxLength", 0, 300).map(lambda bounds: {"type": "string", **bounds})
_INTEGERS = _bounded("minimum", "maximum", -1_000, 1_000).map(lambda bounds: {"type": "integer", **bounds})
_OPEN = st.tuples(st.integers(-1_000, 1_000), st.integers(2, 50)).map(
    lambda pair: {"type": "integer", "exclusiveMinimum": pair[0], "exclusiveMaximum": pair[0] + pair[1]}
)
_MULTIPLES = st.tuples(st.integers(-1_000, 1_000), st.sampled_from([1, 2, 7, 0.5, 0.25])).map(
    lambda pair: {"type": "number", "minimum": pair[0], "maximum": pair[0] + pair[1], "multipleOf": pair[1]}
)
_LEAVES = st.one_of(
    _STRINGS,
    _INTEGERS,
    _OPEN,
    _MULTIPLES,
    st.sampled_from([{"type": "string", "format": name} for name in _FORMATS]),
    st.sampled_from(
        [{}, {"type": "boolean"}, {"type": ["null", "string"]}, {"type": "number", "exclusiveMinimum": 0.1}]
    ),
    st.lists(_LISTED, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    _LISTED.map(lambda value: {"const": value}),
    # A reference in a schema may lead into a cycle, so it stands where null or an empty array can replace it.
    st.sampled_from(_DEFINED).map(lambda name: {"anyOf": [{"$ref": f"#/$defs/{name}"}, {"type": "null"}]}),
    st.sampled_from(_DEFINED).map(lambda name: {"type": "array", "items": {"$ref": f"#/$defs/{name}"}}),
)


def _objects(nodes: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(st.sampled_from(_NAMES), nodes, max_size=4)
    return properties.flatmap(
        lambda found: st.builds(
            lambda required, more: {"type": "object", "properties": found, "required": required, **more},
            st.lists(st.sampled_from(sorted(found)), unique=True) if found else st.just([]),
            st.sampled_from([{}, {"additionalProperties": False}]),
        )
    )


def _nested(nodes: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    arrays = st.tuples(nodes, _bounded("minItems", "maxItems", 0, 4)).map(
        lambda pair: {"type": "array", "items": pair[0], **pair[1]}
    )
    return _objects(nodes) | arrays | st.lists(nodes, min_size=1, max_size=3).map(lambda found: {"anyOf": found})


_NODES = st.recursive(_LEAVES, _nested, max_leaves=12)
_SCHEMAS = st.builds(
    lambda root, defined: {**root, "$defs": dict(zip(_DEFINED, defined, strict=True))},
    _objects(_NODES),
    st.lists(_NODES, min_size=3, max_size=3),
)


@settings(max_examples=sized(quick=75, test=200, campaign=1_000))
@given(_SCHEMAS, st.text(max_size=80) | st.just(_TEXT))
def test_any_usual_schema_is_met(schema: dict[str, Any], text: str) -> None:
    """Whatever the text is, the demo's output fits the schema, and a second run gives the same output."""
    output = formed(schema, text)
    jsonschema.Draft202012Validator(schema, validate_formats=True).validate(json.loads(output))
    assert formed(schema, text) == output
    assert len(output) < 200_000


def test_a_definition_that_leads_back_to_itself_is_left() -> None:
    again = {"anyOf": [{"$ref": "#/$defs/one"}, {"type": "null"}]}
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/one"}},
        "required": ["a"],
        "$defs": {"one": again},
    }
    assert json.loads(formed(schema, _TEXT)) == {"a": None}
