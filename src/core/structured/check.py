"""Checks a value against an output schema, and says what is wrong where. Linear time; without recursion."""

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..limits import BRANCH_STEPS_MOST, FAULTS_MOST
from .alternatives import alternatives, alternatives_of_one
from .branches import BranchSearch, SearchEnded
from .frontier import Deeper, Frontier, Single
from .groups import Group, ValuePlaces
from .nodes import SchemaNode
from .pointers import Place, pointer_to
from .predicates import fits_alone, misfits, test_of
from .schema import OutputSchema
from .shallow import faults_alone, type_words

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
    """Checks one value against one schema, level by level, and the values of one level many at a time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._faults: list[Fault] = []
        self._search = BranchSearch(BRANCH_STEPS_MOST)

    def run(self, root: SchemaNode, value: object) -> list[Fault]:
        """Check the value and all values inside it, those nearest to the root first."""
        level = Frontier([(root, value, None)], [])
        while (level.singles or level.groups) and not self._is_full():
            deeper = Deeper()
            for single in level.singles:
                node, value, place = single
                if not test_of(node, type(value))(value):
                    self._record(node, value, place)
                    if self._is_full():
                        break
                if node.branches:
                    self._alternatives(single, level)
                deeper.add_inside(single)
            for group in level.groups:
                self._alone(group)
                if self._is_full():
                    break
                deeper.add_group(group)
                if group.node.branches:
                    level.groups += self._branches(group)
            level = deeper.frontier()
        return self._faults[: self._most]

    def _is_full(self) -> bool:
        return len(self._faults) >= self._most

    def _alternatives(self, single: Single, level: Frontier) -> None:
        """Add what the `anyOf` of a single value's schema asks of it to the level."""
        node, value, place = single
        branches = alternatives_of_one(node, value)
        if len(branches) == 1:
            level.singles.append((branches[0], value, place))
        else:
            level.groups += self._branches(Group(node, [value], ValuePlaces([place])))

    def _alone(self, group: Group) -> None:
        """Record what is wrong with the values of a group, without the values inside them and without `anyOf`."""
        for position in misfits(group.node, group.values):
            self._record(group.node, group.values[position], group.place(position))
            if self._is_full():
                return

    def _record(self, node: SchemaNode, value: object, place: Place) -> None:
        for name, expected in faults_alone(node, value, self._most):
            at = place if name is None else (place, name)
            self._faults.append(Fault(pointer_to(at), expected))
            if self._is_full():
                return

    def _branches(self, group: Group) -> Iterator[Group]:
        """Check `anyOf`.

        If only one schema of an `anyOf` is possible for a value, the value is yielded in a group of this schema, so
        that its faults are reported. Otherwise the fault is that no schema fits.
        """
        node = group.node
        for positions, branches in alternatives(node, group.values):
            if len(branches) == 1:
                yield group.part(branches[0], positions)
                continue
            some = group.part(node, positions)
            if type(some.values[0]) not in node.kinds:
                continue  # the fault of the type is recorded
            try:
                failed = self._search.misfits(node, branches, some.values, self._most)
            except SearchEnded:
                self._faults.append(Fault(pointer_to(some.place(0)), _ENDED))
                continue
            for position in failed[: self._most]:
                value = some.values[position]
                candidates = [branch for branch in branches if fits_alone(branch, value)]
                if len(candidates) == 1:
                    yield some.part(candidates[0], [position])
                else:
                    self._faults.append(Fault(pointer_to(some.place(position)), _none_fits(node, value)))


def _none_fits(node: SchemaNode, value: object) -> str:
    """Describe which values `anyOf` allows at a place."""
    if node.tag is not None and isinstance(value, dict):
        return f"an object whose {json.dumps(node.tag)} is one that `anyOf` names"
    words = {type_words(branch) for branch in node.branches if branch.type_names}
    of_types = f" ({', '.join(sorted(words))})" if words else ""
    return f"a value that one of the {len(node.branches)} schemas of `anyOf` allows{of_types}"
