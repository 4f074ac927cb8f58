"""Compiles the keywords of a JSON Schema that contain no schemas: checks their values and sets them in the node."""

from collections.abc import Callable
from typing import Final

from ....kernel.domain.errors import OnceoverError
from .equality import decimal_of, key_of, size_of
from .formats import FORMATS
from .nodes import KINDS, SchemaNode
from .pointers import Path, pointer_to, shown

# Unsupported keywords of JSON Schema, each with advice on what to write in its path.
_REASONS: Final = {
    "oneOf": "`oneOf` is not supported: use `anyOf`.",
    "allOf": "`allOf` is not supported: write its schemas as one.",
    "pattern": "`pattern` is supported only beside a `format` of the list, because it could take exponential time.",
    "nullable": '`nullable` is not of JSON Schema: use `"type": ["string", "null"]` or `anyOf`.',
    "$schema": "`$schema` is allowed only at the root.",
    "$id": "`$id` is allowed only at the root.",
}
# The keywords of JSON Schema that describe a value and constrain nothing.
_SHOWN: Final = frozenset({"title", "description", "default", "examples"})
_UNSENT: Final = frozenset({"$comment", "id", "readOnly", "writeOnly", "deprecated"})
ONCEOVER: Final = "x-onceover"
ROOT_ONLY: Final = frozenset({"$schema", "$id"})


class SchemaRefused(OnceoverError):
    """An output schema is not supported: `pointer` is the place in it, and `reason` is a sentence for the client."""

    code = "unsupported_schema"

    def __init__(self, pointer: str, reason: str) -> None:
        super().__init__(f"{pointer or 'the root'}: {reason}")
        self.pointer: Final = pointer
        self.reason: Final = reason


def refused(path: Path, reason: str) -> SchemaRefused:
    """Make the error that refuses the schema because of the value at `path`."""
    return SchemaRefused(pointer_to(path), reason)


def is_annotation(name: str) -> bool:
    """Whether a keyword has no effect: it describes a value, or its name begins with `x-`, and is not ours."""
    return name in _SHOWN or (is_unsent(name) and name != ONCEOVER)


def is_unsent(name: str) -> bool:
    """Whether a keyword is not sent to models: servers refuse some keywords, and these have no effect."""
    return name in _UNSENT or name.startswith("x-")


def unknown(name: str, path: Path) -> SchemaRefused:
    """Make the error that refuses the schema because of an unsupported keyword."""
    return refused(path, _REASONS.get(name, f"`{shown(name, 100)}` is not a supported keyword."))


def _type(node: SchemaNode, value: object, path: Path) -> None:
    given: list[object] = value if isinstance(value, list) else [value]
    names = tuple(name for name in given if isinstance(name, str) and name in KINDS)
    if len(names) < len(given):
        raise refused(path, f"A type is one of {', '.join(KINDS)}, or a list of them.")
    if not names or len(set(names)) < len(names):
        raise refused(path, "The list of types is empty, or names one of them twice.")
    node.type_names = names
    node.kinds = frozenset(kind for name in names for kind in KINDS[name])
    node.is_whole = "integer" in names and "number" not in names


def _required(node: SchemaNode, value: object, path: Path) -> None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise refused(path, "`required` is a list of names.")
    if len(set(value)) < len(value):
        raise refused(path, "`required` names a property twice.")
    node.required = tuple(value)
    node.required_names = frozenset(value)


def _additional_properties(node: SchemaNode, value: object, path: Path) -> None:
    if value is not False:
        raise refused(path, "Only false is supported, and true where `strict` is false.")
    node.is_closed = True


def _enum(node: SchemaNode, value: object, path: Path) -> None:
    if not isinstance(value, list) or not value:
        raise refused(path, "`enum` is a list of at least one value.")
    _allow_only(node, value)


def _const(node: SchemaNode, value: object, _path: Path) -> None:
    _allow_only(node, [value])


def _allow_only(node: SchemaNode, values: list[object]) -> None:
    sizes = [size_of(value, character=1) for value in values]
    node.members_size = max(node.members_size, *sizes)
    keys = frozenset(map(key_of, values, sizes))
    words = frozenset([value for value in values if isinstance(value, str)])
    node.words = node.words & words if node.members else words
    node.members = (*node.members, keys)
    node.members_shown = values


def _number(value: object, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused(path, "This is a number.")
    return value


def _multiple_of(node: SchemaNode, value: object, path: Path) -> None:
    number = _number(value, path)
    if number <= 0:
        raise refused(path, "`multipleOf` is a number above 0.")
    node.multiple_of = decimal_of(number)
    node.multiple_of_text = shown(str(number), 100)


def _count(value: object, path: Path) -> int:
    number = _number(value, path)
    if number < 0 or number != int(number):
        raise refused(path, "This is a whole number, 0 or more.")
    return int(number)


def _format(node: SchemaNode, value: object, path: Path) -> None:
    check = FORMATS.get(value) if isinstance(value, str) else None
    if check is None:
        raise refused(path, f"The supported formats are {', '.join(FORMATS)}.")
    node.format, node.format_name = check, str(value)


def _text(_node: SchemaNode, value: object, path: Path) -> None:
    if not isinstance(value, str):
        raise refused(path, "This is a text.")


def _onceover(node: SchemaNode, value: object, path: Path) -> None:
    if value != "quote":
        raise refused(path, 'The only value of `x-onceover` is "quote".')
    node.is_quote = True


type _Constraint = Callable[[SchemaNode, object, Path], None]


def _set(attribute: str, read: Callable[[object, Path], float]) -> _Constraint:
    """Return what sets an attribute of a node to the value of a keyword."""
    return lambda node, value, path: setattr(node, attribute, read(value, path))


CONSTRAINTS: Final[dict[str, _Constraint]] = {
    "type": _type,
    "required": _required,
    "additionalProperties": _additional_properties,
    "enum": _enum,
    "const": _const,
    "minimum": _set("minimum", _number),
    "maximum": _set("maximum", _number),
    "exclusiveMinimum": _set("exclusive_minimum", _number),
    "exclusiveMaximum": _set("exclusive_maximum", _number),
    "multipleOf": _multiple_of,
    "minItems": _set("min_items", _count),
    "maxItems": _set("max_items", _count),
    "minLength": _set("min_length", _count),
    "maxLength": _set("max_length", _count),
    "format": _format,
    "pattern": _text,
    ONCEOVER: _onceover,
    "$schema": _text,
    "$id": _text,
}
