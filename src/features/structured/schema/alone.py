"""Says what is wrong with one value by one schema node, without the values inside it and without `anyOf`."""

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from .equality import is_multiple, key_of
from .nodes import NUMBERS, SchemaNode
from .pointers import shown

MEMBERS_TEXT_CHARS_MOST: Final = 200
_NAME_CHARS_MOST = 100
_TYPE_WORDS = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "null",
}


def fits_alone(node: SchemaNode, value: Any) -> bool:
    """Whether the value itself fits the schema node, without the values inside it and without `anyOf`."""
    kind = type(value)
    if kind in node.plain:
        return True
    if kind not in node.kinds or (node.members and not _is_member(node, value)):
        return False
    if kind is str:
        return (
            node.min_length <= len(value)
            and (node.max_length is None or len(value) <= node.max_length)
            and (node.format is None or node.format(value))
        )
    if kind is dict:
        return value.keys() >= node.required_names and (not node.is_closed or value.keys() <= node.properties.keys())
    if kind is list:
        return node.min_items <= len(value) and (node.max_items is None or len(value) <= node.max_items)
    return kind not in NUMBERS or next(_number_faults(node, value), None) is None


def faults_alone(node: SchemaNode, value: object, most: int) -> Iterator[tuple[str | None, str]]:
    """Yield each fault of a value itself: the property, or None for the whole value, and what was expected."""
    if type(value) not in node.kinds:
        yield None, type_words(node)
        return
    if node.members and not _is_member(node, value):
        yield None, _members_text(node.members_shown)
    if isinstance(value, dict):
        yield from _object_faults(node, value, most)
    elif isinstance(value, list):
        if len(value) < node.min_items:
            yield None, f"an array of {node.min_items} items or more"
        if node.max_items is not None and len(value) > node.max_items:
            yield None, f"an array of {node.max_items} items or fewer"
    else:
        yield from ((None, expected) for expected in _scalar_faults(node, value))


def _object_faults(node: SchemaNode, value: dict[str, object], most: int) -> Iterator[tuple[str, str]]:
    for name in node.required:
        if name not in value:
            yield name, "a value: this property is required"
    if node.is_closed:
        extra = (name for name in value if name not in node.properties)
        yield from ((name, "no property of this name") for name in islice(extra, most))


def _members_text(values: list[object]) -> str:
    """Say in words which values an `enum` or a `const` allows."""
    # Each value takes a character at least, so that further values would be cut off.
    text = json.dumps(values[:MEMBERS_TEXT_CHARS_MOST], ensure_ascii=False, separators=(", ", ": "))[1:-1]
    return shown(text if len(values) == 1 else f"one of {text}", MEMBERS_TEXT_CHARS_MOST)


def type_words(node: SchemaNode) -> str:
    """Say in words which types a schema node allows."""
    return " or ".join(_TYPE_WORDS[name] for name in node.type_names)


def _is_member(node: SchemaNode, value: object) -> bool:
    """Whether the node's `enum` and `const` allow the value."""
    if isinstance(value, str):
        return value in node.words
    key = key_of(value, node.members_size)
    return all(key in keys for keys in node.members)


def _scalar_faults(node: SchemaNode, value: object) -> Iterator[str]:
    """Say what a node expects of a string or a number that does not fit it."""
    if isinstance(value, str):
        if len(value) < node.min_length:
            yield f"a string of {node.min_length} characters or more"
        if node.max_length is not None and len(value) > node.max_length:
            yield f"a string of {node.max_length} characters or fewer"
        if node.format is not None and not node.format(value):
            yield f"a string of the format {node.format_name}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_faults(node, value)


def _number_faults(node: SchemaNode, value: float) -> Iterator[str]:
    if node.is_whole and isinstance(value, float) and not value.is_integer():
        yield type_words(node)
    if node.minimum is not None and value < node.minimum:
        yield f"at least {_written(node.minimum)}"
    if node.maximum is not None and value > node.maximum:
        yield f"at most {_written(node.maximum)}"
    if node.exclusive_minimum is not None and value <= node.exclusive_minimum:
        yield f"more than {_written(node.exclusive_minimum)}"
    if node.exclusive_maximum is not None and value >= node.exclusive_maximum:
        yield f"less than {_written(node.exclusive_maximum)}"
    if node.multiple_of is not None and not is_multiple(value, node.multiple_of):
        yield f"a multiple of {node.multiple_of_text}"


def _written(number: float) -> str:
    return shown(str(number), _NAME_CHARS_MOST)
