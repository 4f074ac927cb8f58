"""Checks a value against an output schema, and says what is wrong where. Linear time; without recursion."""

import json
from collections.abc import Generator
from typing import Any, Final, NamedTuple

from ....kernel.domain.limits import CHECK_EFFORT_MOST, FAULTS_MOST
from .alone import faults_alone, fits_alone, type_words
from .nodes import GLANCED_AT_MOST, SchemaNode
from .pointers import Path, pointer_to
from .schema import OutputSchema

_ENDED: Final = "a value that takes fewer steps to check: this one has too many small values for its schema"
_SEARCH_ENDED: Final = (
    "a value that a bounded search finds in `anyOf`: give its schemas a required property with a different `const` each"
)
_LOOKED_AT_MOST = 32  # The most alternatives that are asked whether they fit a value alone before they are searched.
_QUEUED_EFFORT: Final = 4  # A value that is checked by itself takes so many times as long as one of a list of scalars.
_ABSENT = object()

# A value inside an object or array, with the node that it must fit.
type _Inside = tuple[SchemaNode, Any, str | int]
# A question of the search: whether a value fits a node. The search yields further questions.
type _Search = Generator[tuple[SchemaNode, Any], bool, bool]


class Fault(NamedTuple):
    """What is wrong with a model's output: where, as a JSON pointer, and what was expected there.

    `pointer` and `expected` may contain a client's or a model's text: names of properties, and values of `enum`.
    """

    pointer: str
    expected: str


class _Ended(Exception):
    """The budget of a check is used up, so the value counts as faulty."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Final = fault


def faults_of(
    schema: OutputSchema, value: object, most: int = FAULTS_MOST, effort: int = CHECK_EFFORT_MOST
) -> list[Fault]:
    """Return up to `most` faults of a value, those near the root first. A value without a fault is valid.

    `value` is what `json.loads` returned, with finite numbers. A check that would take more than `effort` is a fault,
    because a value must not be accepted unchecked.
    """
    return _Check(most, effort).run(schema.root, value)


class _Check:
    """Checks one value against one schema, level by level.

    The search through `anyOf` remembers its answers by the `id` of node and value: alternatives that refer to the
    schema itself would else take exponential time.
    """

    def __init__(self, most: int, effort: int) -> None:
        self._most = most
        self.effort = effort
        self._faults: list[Fault] = []
        self._answers: dict[tuple[int, int], bool] = {}

    def run(self, root: SchemaNode, value: object) -> list[Fault]:
        """Check the value and all values inside it, those nearest to the root first."""
        level: list[tuple[SchemaNode, Any, Path]] = [(root, value, None)]
        try:
            for node, one, path in level:
                for each in self._nodes(node, one, path):
                    level += [(child, inner, (path, token)) for child, inner, token in self._inside(each, one)]
                if len(self._faults) >= self._most:
                    break
        except _Ended as ended:
            self._faults.append(ended.fault)
        return self._faults[: self._most]

    def _nodes(self, node: SchemaNode, value: object, path: Path) -> list[SchemaNode]:
        """Record what is wrong with a value alone. Return the nodes that the values inside it must fit."""
        nodes = [node]
        for each in nodes:
            self._spend(_QUEUED_EFFORT + each.effort)
            if not fits_alone(each, value):
                for name, expected in faults_alone(each, value, self._most):
                    self._faults.append(Fault(pointer_to(path if name is None else (path, name)), expected))
            if each.branches and type(value) in each.kinds:
                branches = alternatives(each, value)
                if not _is_decided(branches):
                    only = branches[0] if len(branches) == 1 else self._only(each, branches, value, path)
                    nodes += [] if only is None else [only]
        return nodes

    def _only(self, node: SchemaNode, branches: tuple[SchemaNode, ...], value: object, path: Path) -> SchemaNode | None:
        """Search `anyOf`. If no schema fits, return the only one that fits the value alone, or record a fault."""
        try:
            if self._answer(self._any(branches, value)):
                return None
        except _Ended:
            raise _Ended(Fault(pointer_to(path), _SEARCH_ENDED)) from None
        candidates = [branch for branch in branches if fits_alone(branch, value)]
        if len(candidates) == 1:
            return candidates[0]
        self._faults.append(Fault(pointer_to(path), _none_fits(node, value)))
        return None

    def _inside(self, node: SchemaNode, value: Any) -> list[_Inside]:
        """Return the values inside an object or array that are still to check, and those that do not fit."""
        found = list[_Inside]()
        if type(value) is dict and node.properties and dict in node.kinds:
            effort = len(value)
            for name, member in value.items():
                child = node.properties.get(name)
                if child is not None and type(member) not in child.plain:
                    effort += child.effort
                    if not _passes(child, member):
                        found.append((child, member, name))
            self._spend(effort)
        elif type(value) is list and node.items is not None and list in node.kinds:
            items = node.items
            if not items.plain.issuperset(map(type, value)):
                self._spend(len(value) * items.effort)
                found = [(items, item, at) for at, item in enumerate(value) if not _passes(items, item)]
        return found

    def _answer(self, search: _Search) -> bool:
        """Run a search to its end. Searches for further questions wait in a list, so that nothing recurses."""
        waiting = [search]
        answer: bool | None = None
        while True:
            try:
                node, value = next(waiting[-1]) if answer is None else waiting[-1].send(answer)
            except StopIteration as ended:
                waiting.pop()
                answer = bool(ended.value)
                if not waiting:
                    return answer
            else:
                answer = self._answers.get((id(node), id(value)))
                if answer is None:
                    self._spend(_QUEUED_EFFORT)
                    waiting.append(self._fits(node, value))

    def _any(self, branches: tuple[SchemaNode, ...], value: Any) -> _Search:
        """Whether a value fits one of some alternatives."""
        for branch in branches:
            if (yield branch, value):
                return True
        return False

    def _fits(self, node: SchemaNode, value: Any) -> _Search:
        """Whether a value fits a node, with all that is inside it and `anyOf`. Remembers the answer."""
        fits = yield from self._searched(node, value)
        self._answers[id(node), id(value)] = fits
        return fits

    def _searched(self, node: SchemaNode, value: Any) -> _Search:
        inside = [(node, value)]
        asked = list[tuple[tuple[SchemaNode, ...], Any]]()
        for each, one in inside:
            self._spend(_QUEUED_EFFORT + each.effort)
            if not fits_alone(each, one):
                return False
            if each.branches:
                branches = alternatives(each, one)
                if len(branches) == 1:
                    inside.append((branches[0], one))
                elif not _is_decided(branches):
                    asked.append((branches, one))
            inside += [(child, inner) for child, inner, _ in self._inside(each, one)]
        for branches, one in asked:
            if not (yield from self._any(branches, one)):
                return False
        return True

    def _spend(self, effort: int) -> None:
        self.effort -= effort
        if self.effort < 0:
            raise _Ended(Fault("", _ENDED))


class SearchEnded(Exception):
    """Raised if it takes too much effort to find out which schemas of `anyOf` fit values."""

    expected: Final = _SEARCH_ENDED


class AlternativesSearch:
    """Finds out which schemas of `anyOf` fit values, with one budget for all of them."""

    def __init__(self) -> None:
        self._effort = CHECK_EFFORT_MOST

    def fits(self, node: SchemaNode, value: object) -> bool:
        """Whether a value fits a schema. Raises SearchEnded."""
        check = _Check(1, self._effort)
        faults = check.run(node, value)
        self._effort = check.effort
        if self._effort < 0:
            raise SearchEnded
        return not faults


def alternatives(node: SchemaNode, value: Any) -> tuple[SchemaNode, ...]:
    """Return the schemas of a node's `anyOf` that a value may fit, as far as that is quick to see.

    A value's type decides, then a property whose constants differ between the schemas, or the names of an object's
    properties. If several are left, these are the ones that the value fits alone.
    """
    branches = node.by_kind.get(type(value), ())
    if type(value) is dict and len(branches) > 1:
        if node.tag is not None:
            tag = value.get(node.tag, _ABSENT)
            branch = node.by_tag.get(tag) if isinstance(tag, str) else None
            branches = node.untagged if tag is _ABSENT else () if branch is None else (branch,)
        else:
            branches = (*node.named.get(frozenset(value), ()), *node.unnamed) if node.named else node.unnamed
    if not 1 < len(branches) <= _LOOKED_AT_MOST:  # An older release accepted very many.
        return branches
    return tuple(branch for branch in branches if fits_alone(branch, value))


def _is_decided(branches: tuple[SchemaNode, ...]) -> bool:
    """Whether a value that fits each of several alternatives alone is known to fit one of them."""
    return 1 < len(branches) <= _LOOKED_AT_MOST and any(branch.is_shallow for branch in branches)


def _passes(node: SchemaNode, value: Any) -> bool:
    """Whether a value is seen to fit at a glance. Most values inside objects and arrays are."""
    if not fits_alone(node, value):
        return False
    if node.is_shallow:
        return True
    kind = type(value)
    if kind is dict or kind is list:
        return False
    glanced = node.by_kind.get(kind, ())[:GLANCED_AT_MOST]
    return not node.branches or any(branch.is_shallow and fits_alone(branch, value) for branch in glanced)


def _none_fits(node: SchemaNode, value: object) -> str:
    """Describe which values `anyOf` allows at a path."""
    if node.tag is not None and isinstance(value, dict):
        return f"an object whose {json.dumps(node.tag)} is one that `anyOf` names"
    words = {type_words(branch) for branch in node.branches if branch.type_names}
    of_types = f" ({', '.join(sorted(words))})" if words else ""
    return f"a value that one of the {len(node.branches)} schemas of `anyOf` allows{of_types}"
