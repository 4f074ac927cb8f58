"""Plans the calls that a task needs: its chunks, then, for a merge, one level of calls after another."""

from collections.abc import Sequence

from ...core.task import Reduce
from ...core.text.merge import merge_ends
from ...store.records.claims import CallKey, Claim, MergeLevel


class CallPlan:
    """The levels planned so far.

    The plan begins with the stored levels, and adds levels that follow from the outputs' sizes. A new level must be
    stored with the announcement of its first calls. Code that plans in another way then uses the level as it is stored.
    """

    def __init__(self, claim: Claim) -> None:
        self.total = claim.total
        self._most_chars = claim.merge_chars
        self._calls = list(claim.merges)  # the number of calls of each level above the chunks
        self._top = claim.merge_ends
        self._unsaved: list[MergeLevel] = []
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
        """The calls that the task needs without failures, as far as the plan shows; exact once the plan is complete."""
        return self.total + sum(self._calls) + (0 if self.complete else 1)

    def keys(self) -> list[CallKey]:
        """The calls of the top level, in order."""
        size = self._calls[-1] if self._calls else self.total
        return [CallKey(self.top, position) for position in range(size)]

    def add_level(self, sizes: Sequence[int]) -> None:
        """Plan the level that merges the outputs of the top level, which have these sizes in code points."""
        assert not self.complete
        self._top = merge_ends(sizes, self._most_chars)
        self._calls.append(len(self._top))
        self._unsaved.append(MergeLevel(self.top, self._top))

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
