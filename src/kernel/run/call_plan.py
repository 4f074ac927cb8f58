"""Plans the calls of a task: one call for each chunk, then with `merge` one level of merge calls after another."""

from collections.abc import Container, Sequence

from ..domain.task import Reduce
from ..store.claims import CallKey, Claim, MergeLevel
from ..text.merge import merge_ends


class CallPlan:
    """The levels of calls that are planned so far, and the levels that a retry of gaps copies from the old task.

    The plan begins with the stored levels. Each further level is planned from the sizes of the outputs below it. The
    write that announces its first calls also stores the level: a later version of the code may plan differently.
    """

    def __init__(self, claim: Claim) -> None:
        self.total = claim.total
        self._most_chars = claim.merge_chars
        self._calls = list(claim.merges)  # How many calls each merge level has.
        self._top = claim.merge_ends
        self._unsaved: list[MergeLevel] = []
        self._inherited = () if claim.inherited is None else claim.inherited.merges
        self._copied = 0 if claim.inherited is None else claim.inherited.outputs
        # How many calls below the top merge only gaps: those without an output, as all calls there have ended.
        self._left_out = sum(
            calls - sum(key.level == level for key in claim.outputs)
            for level, calls in enumerate(self._calls[:-1], start=1)
        )
        self._merging = claim.options.reduce is Reduce.MERGE and claim.total > 1
        self._keys = self._keys_of_top()

    @property
    def top(self) -> int:
        """The number of the highest level that is planned so far. The chunks are level 0."""
        return len(self._calls)

    @property
    def complete(self) -> bool:
        """Whether the top level is the last level: it has only one call, or the task does not merge."""
        return not self._merging or (self.top > 0 and self._calls[-1] == 1)

    @property
    def minimum_calls(self) -> int:
        """The least number of calls that the task needs, without failures; exact as soon as the plan is complete.

        The calls of chunks that are gaps count. Outputs copied from another task, and merges of gaps alone, do not.
        """
        planned = [*self._calls, *map(len, self._inherited[self.top :])]
        is_whole = not self._merging or (bool(planned) and planned[-1] == 1)
        return self.total + sum(planned) + (0 if is_whole else 1) - self._left_out - self._copied

    def keys(self) -> Sequence[CallKey]:
        """Return the keys of the top level's calls, in order. They are made once; a run asks after each call."""
        return self._keys

    def _keys_of_top(self) -> Sequence[CallKey]:
        size = self._calls[-1] if self._calls else self.total
        return tuple(CallKey(self.top, position) for position in range(size))

    @property
    def inherits(self) -> bool:
        """Whether, in a retry of gaps, the next level of merges is copied from the old task."""
        return self.top < len(self._inherited)

    def add_level(self, sizes: Sequence[int] = ()) -> None:
        """Plan a level that merges the outputs of the present top level, whose sizes in code points are `sizes`."""
        assert not self.complete
        self._top = self._inherited[self.top] if self.inherits else merge_ends(sizes, self._most_chars)
        self._calls.append(len(self._top))
        self._unsaved.append(MergeLevel(self.top, self._top))
        self._keys = self._keys_of_top()

    def missing_below(self, outputs: Container[CallKey]) -> list[CallKey]:
        """Return the calls of the level below the top without an output, which are gaps or merge only gaps."""
        if not self.top:
            return []
        below = self.top - 1
        size = self._calls[below - 1] if below else self.total
        return [key for position in range(size) if (key := CallKey(below, position)) not in outputs]

    def leave_out(self, left_out: Container[CallKey]) -> list[CallKey]:
        """Return the top level's calls that would merge only gaps, once a level: `minimum_calls` drops them."""
        if not self.top:
            return []
        found = [
            key
            for key in self.keys()
            if all(CallKey(self.top - 1, position) in left_out for position in self.members(key.position))
        ]
        self._left_out += len(found)
        return found

    def members(self, position: int) -> range:
        """Return the positions, in the level below, of the outputs that a call of the top level merges."""
        return range(self._top[position - 1] if position else 0, self._top[position])

    @property
    def unsaved(self) -> Sequence[MergeLevel]:
        """The planned levels of calls that are not stored yet."""
        return tuple(self._unsaved)

    def saved(self) -> None:
        """Note that all planned levels are stored."""
        self._unsaved.clear()
