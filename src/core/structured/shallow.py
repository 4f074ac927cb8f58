"""Checks one value against one schema node, without the values inside it and without `anyOf`."""

from collections.abc import Iterator
from itertools import islice

from .equality import is_multiple, key_of
from .nodes import NUMBERS, SchemaNode
from .pointers import shown

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


def fits_alone(node: SchemaNode, value: object) -> bool:
    """Whether the value itself fits the schema node, without the values inside it and without `anyOf`."""
    kind = type(value)
    if kind in node.plain:
        return True
    if kind not in node.kinds or (node.members and not _is_member(node, value)):
        return False
    if isinstance(value, dict):
        names = value.keys()
        return names >= node.required_names and (not node.is_closed or names <= node.properties.keys())
    if isinstance(value, list):
        return len(value) >= node.min_items and (node.max_items is None or len(value) <= node.max_items)
    return _fits_scalar(node, value)


def _fits_scalar(node: SchemaNode, value: object) -> bool:
    """Whether a string fits a node's lengths, in code points, and its format, or a number its bounds."""
    if isinstance(value, str):
        if node.max_length is not None and len(value) > node.max_length:
            return False
        return len(value) >= node.min_length and (node.format is None or node.format(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return True
    if node.is_whole and isinstance(value, float) and not value.is_integer():
        return False
    return all(
        (
            node.minimum is None or value >= node.minimum,
            node.maximum is None or value <= node.maximum,
            node.exclusive_minimum is None or value > node.exclusive_minimum,
            node.exclusive_maximum is None or value < node.exclusive_maximum,
            node.multiple_of is None or is_multiple(value, node.multiple_of),
        )
    )


def all_fit(node: SchemaNode, values: list[object]) -> bool:
    """Whether all items of an array surely fit `node`. If `all_fit` returns False, each item must be checked by itself.

    Only arrays of strings alone, or of numbers alone, can be found to fit so quickly.
    """
    if node.members or node.branches:
        return False
    kinds = set(map(type, values))
    if kinds == {str} and str in node.kinds:
        lengths = set(map(len, values))  # type: ignore[arg-type]
        if min(lengths) < node.min_length or (node.max_length is not None and max(lengths) > node.max_length):
            return False
        return node.format is None or all(map(node.format, values))  # type: ignore[arg-type]
    if kinds <= NUMBERS and node.kinds >= NUMBERS and not (node.is_whole and float in kinds):
        numbers: list[float] = values  # type: ignore[assignment]
        if not (_fits_scalar(node, min(numbers)) and _fits_scalar(node, max(numbers))):
            return False
        divisor = node.multiple_of
        return divisor is None or all(is_multiple(number, divisor) for number in numbers)
    return False


def faults_alone(node: SchemaNode, value: object, most: int) -> Iterator[tuple[str | None, str]]:
    """Yield each fault of a value itself: the property, or None for the whole value, and what was expected."""
    if type(value) not in node.kinds:
        yield None, type_words(node)
        return
    if node.members and not _is_member(node, value):
        yield None, node.members_text
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
