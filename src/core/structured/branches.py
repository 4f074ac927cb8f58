"""Searches which values fit an alternative of an `anyOf`, many values at a time, with a budget.

Without the budget and the remembered answers, a schema whose alternatives refer to the schema itself would take
exponential time: each level of a value would be tried with each combination of alternatives.
"""

from collections.abc import Collection, Generator
from itertools import count
from typing import Any, NamedTuple

from .alternatives import alternatives, alternatives_of_one
from .equality import HASHED
from .groups import Group, children, groups_inside, merged
from .nodes import SchemaNode
from .predicates import fits_alone, misfits
from .steps import Steps

# A question of the search: which of the values fit no alternative of the schema node's `anyOf`.
type _Question = tuple[SchemaNode, list[Any]]
# The search for an answer: the positions of values. It asks further questions.
type _Search[Answer] = Generator[_Question, list[int], Answer]

# The costs in steps. The values inside arrays must be listed, and each array be found again for a value that fails.
_SORTED_A_STEP, _TRIED_A_STEP, _RISEN_A_STEP = 16, 32, 16
_GROUP_STEPS, _ARRAY_TIMES = 2, 3
_LOOK_STEPS, _LOOKED_AT_A_STEP = 2, 8
_PROBED_LEAST = 8  # Of fewer values none is tried alone first.
_MISSES_MOST = 3  # After so many values that fit no alternative, no further value is tried alone first.
_DISTINCT_LEAST = 64  # Fewer values are not searched for equal ones.
_ASKED_IN_TURN_LEAST = 8  # Of so many values inside each value, and more, some are asked for before the others.
_MORE = 8  # How many times more values are asked for each time.
_FEW_MOST = 32  # The most values within one value that are looked at one by one.


class BranchSearch:
    """Searches through `anyOf` while one output is being checked, and remembers answers.

    Answers are stored by the `id` of the node and of the value, so both must live as long as the search.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._answers: dict[int, dict[int, bool]] = {}  # of each node, by value: whether it fits no alternative

    def misfits(self, node: SchemaNode, branches: tuple[SchemaNode, ...], values: list[Any], enough: int) -> list[int]:
        """Return the positions of values that fit none of the given branches of the node. Raises StepsEnded.

        If more than `enough` values fit no branch, at least `enough` of them are returned.
        """
        known = self._answers.get(id(node), {})
        unknown = [at for at, value in enumerate(values) if id(value) not in known] if known else None
        if unknown is None:
            return self._answer(self._distinct(branches, values, enough))
        failed = [at for at, value in enumerate(values) if known.get(id(value), False)]
        found = self._answer(self._distinct(branches, [values[at] for at in unknown], enough))
        return sorted(failed + [unknown[at] for at in found])

    def _answer(self, search: _Search[list[int]]) -> list[int]:
        """Run a search to its end. Searches for further questions wait in a list, so that nothing recurses."""
        waiting = [search]
        answer: list[int] | None = None
        while True:
            try:
                asked = next(waiting[-1]) if answer is None else waiting[-1].send(answer)
            except StopIteration as ended:
                waiting.pop()
                answer = ended.value
                assert answer is not None
                if not waiting:
                    return answer
            else:
                waiting.append(self._recalled(*asked))
                answer = None

    def _recalled(self, node: SchemaNode, values: list[Any]) -> _Search[list[int]]:
        """Answer a question for several values, and remember the answers. Some answers may be known."""
        known = self._answers.setdefault(id(node), {})
        ids = list(map(id, values))
        unknown = [at for at, key in enumerate(ids) if key not in known]
        if unknown:
            asked = values if len(unknown) == len(values) else [values[at] for at in unknown]
            failed = set((yield from self._search(node, asked)))
            known.update((ids[at], index in failed) for index, at in enumerate(unknown))
        return [at for at, key in enumerate(ids) if known[key]]

    def _search(self, node: SchemaNode, values: list[Any]) -> _Search[list[int]]:
        """Find the values that fit no alternative of the node's `anyOf`."""
        failed = list[int]()
        self._steps.spend(1 + len(values) // _SORTED_A_STEP)
        for positions, branches in alternatives(node, values):
            some = values if positions is None else [values[at] for at in positions]
            misfitting = yield from self._distinct(branches, some, None)
            failed += misfitting if positions is None else [positions[at] for at in misfitting]
        return sorted(failed)

    def _distinct(self, branches: tuple[SchemaNode, ...], values: list[Any], enough: int | None) -> _Search[list[int]]:
        """Find the values that fit none of the branches; each text, and each small whole number, is tried once.

        Larger numbers may be chosen so that all of them have one hash.
        """
        if len(values) >= _DISTINCT_LEAST and len(branches) > 1:
            kinds = set(map(type, values))
            if kinds == {str} or (kinds == {int} and min(values) > -HASHED and max(values) < HASHED):
                distinct = list(dict.fromkeys(values))
                failed = {distinct[at] for at in (yield from self._unfit_for_all(branches, distinct, enough))}
                return [at for at, value in enumerate(values) if value in failed] if failed else []
        return (yield from self._unfit_for_all(branches, values, enough))

    def _unfit_for_all(
        self, branches: tuple[SchemaNode, ...], values: list[Any], enough: int | None
    ) -> _Search[list[int]]:
        """Find the values that fit none of the branches; if `enough` is given, at least so many of them.

        Values of one array are often alike. So the schema that the first value fits is tried first for all of them.
        """
        untried, failed = list(branches), list[int]()
        left = list(range(len(values)))
        while untried and left:
            chosen: int | None = 0
            if len(failed) == enough:
                return sorted(failed)
            if len(untried) > 1 and len(left) >= _PROBED_LEAST and (enough or len(failed) < _MISSES_MOST):
                chosen = yield from self._first_that_fits(untried, values[left[0]])
            if chosen is None:
                failed.append(left.pop(0))
            else:
                some = values if len(left) == len(values) else [values[at] for at in left]
                misfitting = yield from self._unfit(untried.pop(chosen), some)
                left = [left[at] for at in misfitting]
        return sorted(failed + left)

    def _first_that_fits(self, branches: list[SchemaNode], value: Any) -> _Search[int | None]:
        for index, branch in enumerate(branches):
            if not (yield from self._unfit(branch, [value])):
                return index
        return None

    def _unfit(self, node: SchemaNode, values: list[Any]) -> _Search[list[int]]:
        """Find the values that do not fit the node, with the values inside them.

        What needs a further search comes last, because it may take long and other values may decide before. Values of
        one node are asked for at once, whichever property they have in the values above.
        """
        if len(values) == 1 and (looked := _looked_at(node, values[0])) is not None:
            self._steps.spend(_LOOK_STEPS + looked.looks // _LOOKED_AT_A_STEP)
            for question in looked.questions:
                if (yield question):
                    return [0]
            return [] if looked.fits else [0]
        self._steps.spend(len(values) // _TRIED_A_STEP)
        if node.is_shallow:
            self._spend(node, values)
            return misfits(node, values)
        searched = list[Group]()
        failed = self._unfit_simply(node, values, searched)
        for group in merged(searched):
            if len(failed) == len(values):
                break
            if len(group.values) < _ASKED_IN_TURN_LEAST * len(values):
                failed |= group.risen((yield group.node, group.values))
            else:
                yield from self._ask_in_turn(group, failed)
        return sorted(failed)

    def _ask_in_turn(self, group: Group, failed: set[int]) -> Generator[_Question, list[int]]:
        """Ask for the many values inside each of a few values: first for some of each, then for more and more.

        One value that fits no alternative decides about the value around it, so its other values need not be asked for.
        Adds the values around that do not fit to `failed`.
        """
        of_owners = dict[int, list[int]]()
        for at, owner in enumerate(group.owners()):
            if owner not in failed:
                of_owners.setdefault(owner, []).append(at)
        self._steps.spend(len(group.values) // _SORTED_A_STEP)
        start, some = 0, _ASKED_IN_TURN_LEAST
        while of_owners:
            part = group.part(
                group.node, [at for positions in of_owners.values() for at in positions[start : start + some]]
            )
            failed |= part.risen((yield group.node, part.values))
            start, some = start + some, some * _MORE
            of_owners = {
                owner: positions
                for owner, positions in of_owners.items()
                if owner not in failed and len(positions) > start
            }

    def _unfit_simply(self, node: SchemaNode, values: list[Any], searched: list[Group]) -> set[int]:
        """Find the values that do not fit the node, without `anyOf`; add the groups that have an `anyOf` to `searched`.

        The groups are left out if no value fits anyway.
        """
        failed = set[int]()
        level = [Group(node, values)]
        for depth in count():
            if not level:
                break
            deeper = list[Group]()
            for group in merged(level):
                self._spend(group.node, group.values)
                fitting = group
                if misfitting := misfits(group.node, group.values):
                    self._steps.spend(depth * len(misfitting) // _RISEN_A_STEP)
                    failed |= group.risen(misfitting)
                    if len(failed) == len(values):
                        return failed
                    if group.node.is_shallow:
                        continue
                    fitting = group.without(misfitting)
                deeper += groups_inside(fitting)
                if group.node.branches and fitting.values:
                    searched.append(fitting)
            level = deeper
        return failed

    def _spend(self, node: SchemaNode, values: list[Any]) -> None:
        times = 1 if node.items is None else _ARRAY_TIMES
        self._steps.spend(_GROUP_STEPS + times * len(values) // node.values_a_step)


class _Looked(NamedTuple):
    """What a look at one value found: whether it fits, if it also fits what the questions ask."""

    fits: bool
    looks: int  # At how many values it looked.
    questions: Collection[_Question] = ()


def _looked_at(node: SchemaNode, value: Any) -> _Looked | None:
    """Look at one value and the values inside it, if these are few: None if they are many.

    For one value this takes a fraction of the time that groups take.
    """
    inside = [(node, value)]
    questions = dict[int, _Question]()
    for each, one in inside:
        if not fits_alone(each, one):
            return _Looked(False, len(inside))
        kind = type(one)
        if (kind is dict and each.properties) or (kind is list and each.items is not None):
            if len(one) > _FEW_MOST:
                return None
            inside += children(each, one)
        if each.branches:
            candidates = alternatives_of_one(each, one)
            if len(candidates) == 1:
                inside.append((candidates[0], one))
            else:
                questions.setdefault(id(each), (each, []))[1].append(one)
        if len(inside) > _FEW_MOST:
            return None
    return _Looked(True, len(inside), questions.values())
