"""Makes the demo provider's structured output: a value for a JSON Schema, with sentences and terms of the text.

The same schema and text always give the same value, also in JSON Schema's formats (`date`, `email` …). Nothing is
searched for: a schema whose parts restrict each other (an `anyOf` beside bounds, say) may get a value that is rejected.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from datetime import date
from itertools import cycle, islice
from typing import Any
from urllib.parse import unquote

from pydantic_core import from_json

from ...kernel.calls.whole_answers import strings_in
from ...kernel.domain import limits
from .report import QUOTE_CHARS, Report, clipped

type Node = Mapping[str, Any]

_FIRST_DAY = date(2000, 1, 1).toordinal()
_DAYS = 9_000  # the number of days from the year 2000 to the year 2024
_DEPTH_MOST = 60
_VALUES_MOST = 5_000
_GENEROUS_DEPTH = 5  # At deeper levels only what is required is made, so that the value of a recursive schema ends.
_GENEROUS_VALUES = 500
_ITEMS = 3  # how many items a list in the output gets, within the schema's bounds
_FIGURES = re.compile(r"\b[0-9]{1,9}\b")
# The keywords from which the type of a schema without `type` is guessed.
_HINTS = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "minItems", "maxItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_NESTED = frozenset({"object", "array"})


def formatted(name: str, text: str) -> str:
    """Return a text of a format."""
    digest = hashlib.sha256(text.encode("utf-8", "replace")).digest()
    number = int.from_bytes(digest[:4])
    day = date.fromordinal(_FIRST_DAY + number % _DAYS).isoformat()
    time = f"{digest[4] % 24:02}:{digest[5] % 60:02}:{digest[6] % 60:02}Z"
    word, whole = digest[7:10].hex(), digest.hex()
    return {
        "date": day,
        "time": time,
        "date-time": f"{day}T{time}",
        "duration": f"P{number % 90 + 10}D",
        "email": f"{word}@example.com",
        "hostname": f"{word}.example.com",
        "ipv4": f"192.0.2.{digest[10]}",
        "ipv6": f"2001:db8::{digest[11]:x}",
        "uuid": f"{whole[:8]}-{whole[8:12]}-4{whole[13:16]}-8{whole[17:20]}-{whole[20:32]}",
    }.get(name, word)


class _NoValue(Exception):
    """Raised if there is no value for a schema, or none that is small enough."""


def plain(text: str) -> str:
    """Return a text; if it consists of JSON objects, as the text of a merge does, return the texts in these objects."""
    words: list[str] = []
    for part in text.split("\n\n"):
        if not part.startswith("{"):
            return text
        try:
            words += strings_in(from_json(part))
        except ValueError:
            return text
    return "\n\n".join(words) or text


def fitted(schema: Node, report: Report, text: str) -> str:
    """Return an object for the schema as compact JSON, from the report on the text; `{}` if no small one fits."""
    try:
        return json.dumps(_Maker(schema, report, text).value(schema, 0), ensure_ascii=False, separators=(",", ":"))
    except _NoValue:
        return "{}"


class _Maker:
    """Makes one value."""

    def __init__(self, root: Node, report: Report, text: str) -> None:
        self._root = root
        self._text = text
        sentences = [_clean(clipped(quote, QUOTE_CHARS)) for quote in report.quotes or [report.headline]]
        self._sentences = cycle(sentences)
        self._terms = cycle([_clean(term) for term, _ in report.terms] or sentences)
        self._figures = cycle([int(found[0]) for found in islice(_FIGURES.finditer(text), 100)] or [report.sentences])
        self._values = 0

    def value(self, node: Node, depth: int) -> object:
        """Make a value for one schema. Raises _NoValue."""
        self._values += 1
        if self._values > _VALUES_MOST or depth > _DEPTH_MOST:
            raise _NoValue
        is_generous = depth < _GENEROUS_DEPTH and self._values < _GENEROUS_VALUES
        node = self._resolved(node, is_generous)
        if "const" in node or "enum" in node:
            listed = [node["const"]] if "const" in node else node["enum"]
            words = (one for one in listed if isinstance(one, str) and one and one in self._text)
            return next(words, next(iter(listed), None))
        kind = _kind(node, is_generous)
        if kind in _NESTED:
            return (self._object if kind == "object" else self._array)(node, depth, is_generous)
        if kind == "string":
            return self._string(node, depth)
        if kind in ("integer", "number"):
            return _number(node, next(self._figures), is_whole=kind == "integer")
        return True if kind == "boolean" else None

    def _resolved(self, node: Node, is_generous: bool) -> Node:
        """Follow references, and add to a node the keywords of one alternative of its `anyOf`."""
        followed = 0
        while "$ref" in node or "anyOf" in node:
            followed += 1
            if followed > _DEPTH_MOST:
                raise _NoValue
            if "$ref" in node:
                node = self._target(node["$ref"])
                continue
            branches = node["anyOf"]
            others = {name: word for name, word in node.items() if name != "anyOf"}
            is_free = is_generous and followed <= _GENEROUS_DEPTH
            flat = branches if is_free else [one for one in branches if not _is_nested(one)]
            node = {**others, **(flat or branches)[0]}
        return node

    def _target(self, reference: str) -> Node:
        found: Any = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            key = unquote(name).replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]
        target: Node = found
        return target

    def _object(self, node: Node, depth: int, is_generous: bool) -> dict[str, object]:
        properties, required = node.get("properties", {}), node.get("required", ())
        names = dict.fromkeys([*properties, *required] if is_generous else required)
        return {name: self.value(properties.get(name, {}), depth + 1) for name in names}

    def _array(self, node: Node, depth: int, is_generous: bool) -> list[object]:
        least = node.get("minItems", 0)
        count = min(max(_ITEMS, least), node.get("maxItems", math.inf)) if is_generous else least
        if count > _VALUES_MOST:
            raise _NoValue
        return [self.value(node.get("items", {}), depth + 1) for _ in range(int(count))]

    def _string(self, node: Node, depth: int) -> str:
        """Make a string: a sentence if the string is directly below the root, a term at deeper levels."""
        least, most = node.get("minLength", 0), node.get("maxLength", math.inf)
        if least > min(most, limits.OUTPUT_CHARS_MOST):
            raise _NoValue
        if "format" in node:
            return formatted(node["format"], self._text)
        found = next(self._sentences if depth == 1 else self._terms)
        if len(found) < least:
            found = ((found + " ") * (least // (len(found) + 1) + 1))[:least]
        return found if most == math.inf else found[: int(most)]


def _kind(node: Node, is_generous: bool) -> str:
    """Return the type of the value that is made for a schema."""
    if "type" in node:
        kinds = [node["type"]] if isinstance(node["type"], str) else node["type"]
        flat = kinds if is_generous else [kind for kind in kinds if kind not in _NESTED]
        return str((flat or kinds)[0])
    return next((kind for kind, words in _HINTS.items() if not node.keys().isdisjoint(words)), "string")


def _is_nested(node: Node) -> bool:
    return "$ref" in node or "anyOf" in node or _kind(node, False) in _NESTED


def _number(node: Node, figure: int, *, is_whole: bool) -> int | float:
    """Return the figure if it is within the bounds of a schema, else a number near to a bound. Raises _NoValue."""
    low = max(node.get("minimum", -math.inf), node.get("exclusiveMinimum", -math.inf))
    high = min(node.get("maximum", math.inf), node.get("exclusiveMaximum", math.inf))
    near = [one for one in (figure, low, high, low + 1, high - 1, low / 2 + high / 2) if math.isfinite(one)]
    if is_whole or "multipleOf" in node:
        step = node.get("multipleOf", 1)
        near = [rounded(one / step) * step for one in near for rounded in (math.ceil, math.floor)]
    for one in near:
        if low <= one <= high and one not in (node.get("exclusiveMinimum"), node.get("exclusiveMaximum")):
            return int(one) if is_whole else one
    raise _NoValue


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
