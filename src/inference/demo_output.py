"""Makes the demo provider's structured output: a value that a JSON Schema allows, with sentences and terms of the text.

The same schema and text always give the same value. Optional parts are filled in only while the value is small, so the
value of a recursive schema stays finite. Work and size are limited: for a schema that allows no value, or only values
that are too large, the output is an empty object.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from typing import Any
from urllib.parse import unquote

from pydantic_core import from_json

from ..core import limits
from .demo_bounds import Impossible, Node, Nodes, candidates, is_within, kind_of, kinds, listed, same, span
from .demo_formats import formatted
from .demo_report import QUOTE_CHARS, Report, clipped
from .line_calls import strings_in

_DEPTHS = (12, 60)  # the most levels of nesting in a value; the second limit is tried if the first limit is too low
_STEPS_MOST = 10_000
_GENEROUS_STEPS = 1_000  # after so many steps, only the required parts of a value are made
_GENEROUS_DEPTH = 5
_ITEMS = 3  # how many items a list in the output gets, within the schema's bounds
_FIGURES = re.compile(r"\b[0-9]{1,9}\b")


class _TooMuch(Exception):
    """Raised if the value for a schema would be too large, or if finding it takes too many steps."""


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
    """Return an object that the schema allows, as compact JSON. `report` is the demo provider's report on the text."""
    for depth in _DEPTHS:
        try:
            return json.dumps(_Maker(schema, report, text, depth).made(), ensure_ascii=False, separators=(",", ":"))
        except Impossible:
            continue
        except _TooMuch:
            break
    return "{}"


class _Maker:
    """Makes one value.

    A value must fit all schemas in `flat`, whose references and alternatives were already followed.
    """

    def __init__(self, root: Node, report: Report, text: str, depth: int) -> None:
        self._root = root
        self._depth = depth
        self._text = text
        sentences = [_clean(clipped(quote, QUOTE_CHARS)) for quote in report.quotes or [report.headline]]
        self._sentences = cycle(sentences)
        self._terms = cycle([_clean(term) for term, _ in report.terms] or sentences)
        self._figures = cycle([int(found[0]) for found in islice(_FIGURES.finditer(text), 100)] or [report.sentences])
        self._steps = self._chars = 0
        self._failed: set[tuple[tuple[int, ...], int]] = set()

    def made(self) -> object:
        """Make the value. Raises Impossible or _TooMuch."""
        return self._value((self._root,), self._depth)

    def _value(self, nodes: Nodes, left: int) -> object:
        """Make a value that all schemas allow, with at most `left` more levels of nesting."""
        key = (tuple(map(id, nodes)), left)
        if left < 0 or key in self._failed:
            raise Impossible
        for flat in self._alternatives(nodes, frozenset(), left):
            try:
                return self._of(flat, left)
            except Impossible:
                continue
        self._failed.add(key)
        raise Impossible

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _STEPS_MOST or self._chars > limits.OUTPUT_CHARS_MOST:
            raise _TooMuch

    def _is_generous(self, left: int) -> bool:
        return self._steps < _GENEROUS_STEPS and self._depth - left < _GENEROUS_DEPTH

    def _alternatives(self, nodes: Nodes, settled: frozenset[int], left: int) -> Iterator[Nodes]:
        """Yield the schemas with their references followed, once for each combination of branches of their `anyOf`."""
        self._step()
        flat = self._followed(nodes)
        undecided = next((node for node in flat if "anyOf" in node and id(node) not in settled), None)
        if undecided is None:
            yield flat
            return
        branches = [branch for branch in undecided["anyOf"] if isinstance(branch, Mapping)]
        if not self._is_generous(left):
            branches.sort(key=_is_nested)
        for branch in branches:
            yield from self._alternatives((*flat, branch), settled | {id(undecided)}, left)

    def _followed(self, nodes: Nodes) -> Nodes:
        flat: dict[int, Node] = {}
        left = list(reversed(nodes))
        while left:
            self._step()
            node = left.pop()
            if isinstance(node, Mapping) and id(node) not in flat:
                flat[id(node)] = node
                if "$ref" in node:
                    left.append(self._target(node["$ref"]))
        return tuple(flat.values())

    def _target(self, reference: str) -> Node:
        found: Any = self._root
        for name in reference.removeprefix("#").split("/")[1:]:
            key = unquote(name).replace("~1", "/").replace("~0", "~")
            found = found[int(key)] if isinstance(found, list) else found[key]
        target: Node = found
        return target

    def _of(self, flat: Nodes, left: int) -> object:
        self._step()
        lists = [listed(node) for node in flat if "enum" in node or "const" in node]
        possible = kinds(flat)
        if lists:
            first, *others = lists
            fit = [one for one in first if all(any(same(one, two) for two in other) for other in others)]
            fit = [one for one in fit if kind_of(one) & set(possible) and is_within(one, flat)]
            if not fit:
                raise Impossible
            return next((one for one in fit if isinstance(one, str) and one and one in self._text), fit[0])
        for kind in possible:
            try:
                return self._of_kind(kind, flat, left)
            except Impossible:
                continue
        raise Impossible

    def _of_kind(self, kind: str, flat: Nodes, left: int) -> object:
        match kind:
            case "object":
                return self._object(flat, left)
            case "array":
                return self._array(flat, left)
            case "string":
                return self._string(flat, left)
            case "integer" | "number":
                return self._number(flat, whole=kind == "integer")
            case _:
                return True if kind == "boolean" else None

    def _object(self, flat: Nodes, left: int) -> dict[str, object]:
        required = {name: None for node in flat for name in node.get("required", ())}
        names = {name: None for node in flat for name in node.get("properties", {})} | required
        made: dict[str, object] = {}
        for name in names:
            parts = tuple(node["properties"][name] for node in flat if name in node.get("properties", {}))
            closed = any(
                node.get("additionalProperties") is False and name not in node.get("properties", {}) for node in flat
            )
            if closed and name in required:
                raise Impossible
            if closed or (name not in required and not self._is_generous(left)):
                continue
            try:
                made[name] = self._value(parts, left - 1)
            except Impossible:
                if name in required:
                    raise
        return made

    def _array(self, flat: Nodes, left: int) -> list[object]:
        least, most = span(flat, "minItems", "maxItems")
        parts = tuple(node["items"] for node in flat if "items" in node)
        made: list[object] = []
        while len(made) < (min(max(_ITEMS, least), most) if self._is_generous(left) else least):
            try:
                made.append(self._value(parts, left - 1))
            except Impossible:
                if len(made) < least:
                    raise
                break
        return made

    def _string(self, flat: Nodes, left: int) -> str:
        """Make a string: a sentence if the string is directly below the root, a term at deeper levels."""
        least, most = span(flat, "minLength", "maxLength")
        if least > limits.OUTPUT_CHARS_MOST:
            raise _TooMuch
        formats = {node["format"] for node in flat if "format" in node}
        if len(formats) > 1:
            raise Impossible
        if formats:
            found = formatted(formats.pop(), self._text, least, most)
            if found is None:
                raise Impossible
        else:
            found = next(self._sentences if self._depth - left == 1 else self._terms)
            if len(found) < least:
                found = (found + " ") * (least // (len(found) + 1) + 1)
                most = min(most, least)
            found = found if most == math.inf else found[: int(most)]
        self._chars += len(found)
        self._step()
        return found

    def _number(self, flat: Nodes, *, whole: bool) -> int | float:
        figure = next(self._figures)
        try:
            found = next((one for one in candidates(flat, figure, whole=whole) if is_within(one, flat)), None)
        except OverflowError:  # a bound in the schema exceeds the largest float
            found = None
        if found is None:
            raise Impossible
        return found


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _is_nested(node: Node) -> bool:
    return "$ref" in node or "anyOf" in node or not {"object", "array"}.isdisjoint(kinds((node,))[:1])
