"""Plans the calls that a task needs: its chunks, then, for a merge, one level of calls after another."""

from collections.abc import Container, Sequence

from ...core.task import Reduce
from ...core.text.merge import merge_ends
from ...store.records.claims import CallKey, Claim, MergeLevel


class CallPlan:
    """The levels planned so far, and those that a retry of gaps inherits.

    The plan begins with the stored levels, and adds levels that follow from the outputs' sizes. A new level must be
    stored with the announcement of its first calls. Code that plans in another way then uses the level as it is stored.
    """

    def __init__(self, claim: Claim) -> None:
        self.total = claim.total
        self._most_chars = claim.merge_chars
        self._calls = list(claim.merges)  # the number of calls of each level above the chunks
        self._top = claim.merge_ends
        self._unsaved: list[MergeLevel] = []
        self._inherited = () if claim.inherited is None else claim.inherited.merges
        self._copied = 0 if claim.inherited is None else claim.inherited.outputs
        # The level below the top is whole: a call of it without an output has nothing to merge but gaps.
        self._left_out = sum(
            calls - sum(key.level == level for key in claim.outputs)
            for level, calls in enumerate(self._calls[:-1], start=1)
        )
        self._merging = claim.options.reduce is Reduce.MERGE and claim.total > 1

    @property
    def top(self) -> int:
        """The highest level planned so far."""
        return len(self._calls)

    @property
    def complete(self) -> bool:
        """Whether the top level is the last one, so that nothing is left to merge."""
        return not self._merging or (self.top > 0 and self._calls[-1] == 1)

    @property
    def minimum_calls(self) -> int:
        """The calls that the task needs without failures, as far as the plan shows; exact once the plan is complete.

        Calls for gaps count. Outputs that come from another task, and merges of nothing but gaps, do not.
        """
        planned = [*self._calls, *map(len, self._inherited[self.top :])]
        is_whole = not self._merging or (bool(planned) and planned[-1] == 1)
        return self.total + sum(planned) + (0 if is_whole else 1) - self._left_out - self._copied

    def keys(self) -> list[CallKey]:
        """The calls of the top level, in order."""
        size = self._calls[-1] if self._calls else self.total
        return [CallKey(self.top, position) for position in range(size)]

    @property
    def inherits(self) -> bool:
        """Whether the next level's plan comes from another task, whatever the outputs' sizes are."""
        return self.top < len(self._inherited)

    def add_level(self, sizes: Sequence[int] = ()) -> None:
        """Plan the level that merges the outputs of the top level, which have these sizes in code points."""
        assert not self.complete
        self._top = self._inherited[self.top] if self.inherits else merge_ends(sizes, self._most_chars)
        self._calls.append(len(self._top))
        self._unsaved.append(MergeLevel(self.top, self._top))

    def missing_below(self, outputs: Container[CallKey]) -> list[CallKey]:
        """Return the calls of the level below the top that have no output. That level is whole, so they leave gaps."""
        if not self.top:
            return []
        below = self.top - 1
        size = self._calls[below - 1] if below else self.total
        return [key for place in range(size) if (key := CallKey(below, place)) not in outputs]

    def leave_out(self, left_out: Container[CallKey]) -> list[CallKey]:
        """Return the calls of the top level that have nothing to merge: all that is below them is left out.

        They do not count any more. It is asked once for each level.
        """
        if not self.top:
            return []
        below = self.top - 1
        found = [
            key for key in self.keys() if all(CallKey(below, place) in left_out for place in self.members(key.position))
        ]
        self._left_out += len(found)
        return found

    def members(self, position: int) -> range:
        """Return the positions of the outputs, one level below, that a call of the top level merges."""
        return range(self._top[position - 1] if position else 0, self._top[position])

    @property
    def unsaved(self) -> Sequence[MergeLevel]:
        """Levels that are not saved yet."""
        return tuple(self._unsaved)

    def saved(self) -> None:
        """Forget what is saved now."""
        self._unsaved.clear()
