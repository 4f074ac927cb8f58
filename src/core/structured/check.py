"""Checks a value against an output schema, and says what is wrong where. Linear time; without recursion."""

import json
from collections.abc import Iterator
from typing import Final, NamedTuple

from ..limits import FAULTS_MOST, OUTPUT_CHARS_MOST
from .alternatives import alternatives, alternatives_of_one
from .branches import BranchSearch
from .frontier import Deeper, Frontier, Single
from .groups import Group, ValuePlaces
from .nodes import VALUES_A_STEP, SchemaNode
from .pointers import Place, pointer_to
from .predicates import fits_alone, misfits, test_of
from .schema import OutputSchema
from .shallow import faults_alone, type_words
from .steps import Steps, StepsEnded, steps_for

_ENDED: Final = "a value that takes fewer steps to check: this one has too many small values for its schema"
_SEARCH_ENDED: Final = (
    "a value that a bounded search finds in `anyOf`: give its schemas a required property with a different `const` each"
)
# The costs in steps: of single values, of a group, of a part of one for an alternative, and of a search.
# So many values of a group are tested before the check may stop at enough faults, and then so many times more.
_AT_FIRST, _MORE = 1_024, 8
_SINGLES_A_STEP, _GROUP_STEPS, _PART_STEPS, _SEARCH_STEPS = 4, 2, 1, 3


class Fault(NamedTuple):
    """What is wrong with a model's output: where, as a JSON pointer, and what was expected there.

    `pointer` and `expected` may contain a client's or a model's text: names of properties, and values of `enum`.
    """

    pointer: str
    expected: str


def faults_of(
    schema: OutputSchema, value: object, most: int = FAULTS_MOST, chars: int = OUTPUT_CHARS_MOST
) -> list[Fault]:
    """Return up to `most` faults of a value, those near the root first. A value without a fault is valid.

    `value` is what `json.loads` returned, with finite numbers, and `chars` is its length as JSON. If the check would
    take too long for this length, the value counts as faulty, because a value must not be accepted unchecked.
    """
    return _Check(most, steps_for(chars)).run(schema.root, value)


class _Ended(Exception):
    """The budget of a check is used up, so the value counts as faulty."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault: Final = fault


class _Check:
    """Checks one value against one schema, level by level, and the values of one level many at a time."""

    def __init__(self, most: int, steps: int) -> None:
        self._most = most
        self._faults: list[Fault] = []
        self._steps = Steps(steps)
        self._search = BranchSearch(self._steps)

    def run(self, root: SchemaNode, value: object) -> list[Fault]:
        """Check the value and all values inside it, those nearest to the root first."""
        try:
            self._check(root, value)
        except _Ended as ended:
            self._faults.append(ended.fault)
        return self._faults[: self._most]

    def _check(self, root: SchemaNode, value: object) -> None:
        level = Frontier([(root, value, None)], [])
        while (level.singles or level.groups) and not self._is_full():
            deeper = Deeper()
            self._spend(len(level.singles) // _SINGLES_A_STEP)
            add_inside = deeper.add_inside
            for single in level.singles:
                node, value, place = single
                test = node.tests.get(type(value)) or test_of(node, type(value))
                if not test(value):
                    self._record(node, value, place)
                    if self._is_full():
                        break
                if node.branches:
                    self._alternatives(single, level)
                add_inside(single)
            for group in level.groups:
                self._spend(_GROUP_STEPS + len(group.values) // VALUES_A_STEP)
                self._alone(group)
                if self._is_full():
                    break
                deeper.add_group(group)
                if group.node.branches:
                    level.groups += self._branches(group)
            level = deeper.frontier()

    def _spend(self, steps: int) -> None:
        try:
            self._steps.spend(steps)
        except StepsEnded:
            raise _Ended(Fault("", _ENDED)) from None

    def _is_full(self) -> bool:
        return len(self._faults) >= self._most

    def _alternatives(self, single: Single, level: Frontier) -> None:
        """Add what the `anyOf` of a single value's schema asks of it to the level."""
        node, value, place = single
        self._spend(1)
        branches = alternatives_of_one(node, value)
        if len(branches) == 1:
            level.singles.append((branches[0], value, place))
        else:
            level.groups += self._branches(Group(node, [value], ValuePlaces([place])))

    def _alone(self, group: Group) -> None:
        """Record what is wrong with the values of a group, without the values inside them and without `anyOf`."""
        start, many, values = 0, _AT_FIRST, group.values
        while start < len(values):
            some = values[start : start + many] if start or len(values) > many else values
            for at in misfits(group.node, some):
                self._record(group.node, values[start + at], group.place(start + at))
                if self._is_full():
                    return
            start, many = start + many, many * _MORE

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
            if self._is_full():
                return
            if len(branches) == 1:
                self._spend(_PART_STEPS)
                yield group.part(branches[0], positions)
                continue
            some = group.part(node, positions)
            if type(some.values[0]) not in node.kinds:
                continue  # the fault of the type is recorded
            try:
                self._steps.spend(_SEARCH_STEPS)
                failed = self._search.misfits(node, branches, some.values, self._most)
            except StepsEnded:
                raise _Ended(Fault(pointer_to(some.place(0)), _SEARCH_ENDED)) from None
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
