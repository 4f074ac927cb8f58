"""Checks a value against an output schema, and says what is wrong where. Linear time; without recursion."""

import json
from typing import Final, NamedTuple

from ..limits import BRANCH_STEPS_MOST, FAULTS_MOST
from .branches import BranchSearch, SearchEnded
from .nodes import SchemaNode
from .pointers import Place, pointer_to
from .schema import OutputSchema
from .shallow import all_fit, faults_alone, fits_alone, type_words

_ENDED: Final = (
    "a value that a bounded search finds in `anyOf`: give its schemas a required property with a different `const` each"
)


class Fault(NamedTuple):
    """What is wrong with a model's output: where, as a JSON pointer, and what was expected there.

    `pointer` and `expected` may contain a client's or a model's text: names of properties, and values of `enum`.
    """

    pointer: str
    expected: str


def faults_of(schema: OutputSchema, value: object, most: int = FAULTS_MOST) -> list[Fault]:
    """Return up to `most` faults of a value, those near the root first. A value without a fault is valid.

    `value` is what `json.loads` returned, with finite numbers. If the search through an `anyOf` would take too long,
    the value counts as faulty, because a value must not be accepted unchecked.
    """
    return _Check(most).run(schema.root, value)


class _Check:
    """Checks one value against one schema."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._faults: list[Fault] = []
        self._search = BranchSearch(BRANCH_STEPS_MOST)
        self._waiting: list[tuple[SchemaNode, object, Place]] = []

    def run(self, root: SchemaNode, value: object) -> list[Fault]:
        """Check the value and all values inside it, those nearest to the root first."""
        self._value(root, value, None)
        for node, one, place in self._waiting:
            if len(self._faults) >= self._most:
                break
            if type(one) is dict:
                self._object(node, one, place)
            elif type(one) is list:
                self._array(node, one, place)
            if node.branches:
                self._branches(node, one, place)
        return self._faults[: self._most]

    def _value(self, node: SchemaNode, value: object, place: Place) -> None:
        """Check a value itself. The check of the values inside the value, and of `anyOf`, is put off until later."""
        if not fits_alone(node, value):
            self._note(node, value, place)
            if type(value) not in node.kinds:
                return
        if node.branches or (node.properties if type(value) is dict else node.items and type(value) is list):
            self._waiting.append((node, value, place))

    def _note(self, node: SchemaNode, value: object, place: Place) -> None:
        """Record what is wrong with a value itself, without the values inside it."""
        for name, expected in faults_alone(node, value, self._most):
            at = place if name is None else (place, name)
            self._faults.append(Fault(pointer_to(at), expected))
            if len(self._faults) >= self._most:
                return

    def _object(self, node: SchemaNode, value: dict[str, object], place: Place) -> None:
        """Check the properties of an object that are not valid by their type alone."""
        properties = node.properties
        for name, member in value.items():
            child = properties.get(name)
            if child is not None and type(member) not in child.plain:
                self._value(child, member, (place, name))

    def _array(self, node: SchemaNode, value: list[object], place: Place) -> None:
        """Check the items of an array that are not valid by their type alone."""
        items = node.items
        if items is None or items.plain.issuperset(map(type, value)) or all_fit(items, value):
            return
        for index, item in enumerate(value):
            if type(item) not in items.plain:
                self._value(items, item, (place, index))
                if len(self._faults) >= self._most:
                    return

    def _branches(self, node: SchemaNode, value: object, place: Place) -> None:
        """Check `anyOf`. If only one schema of an `anyOf` is possible, report its faults, else only that none fits."""
        of_type = node.by_kind.get(type(value), ())
        if len(of_type) == 1:
            self._value(of_type[0], value, place)
            return
        try:
            if self._search.fits_latest(node, value):
                return
            candidates = self._search.candidates(node, value)
            if len(candidates) == 1:
                self._value(candidates[0], value, place)
            elif not self._search.any_fits(node, candidates, value):
                self._faults.append(Fault(pointer_to(place), _none_fits(node, value)))
        except SearchEnded:
            self._faults.append(Fault(pointer_to(place), _ENDED))


def _none_fits(node: SchemaNode, value: object) -> str:
    """Describe which values `anyOf` allows at a place."""
    if node.tag is not None and isinstance(value, dict):
        return f"an object whose {json.dumps(node.tag)} is one that `anyOf` names"
    words = {type_words(branch) for branch in node.branches if branch.type_names}
    of_types = f" ({', '.join(sorted(words))})" if words else ""
    return f"a value that one of the {len(node.branches)} schemas of `anyOf` allows{of_types}"
