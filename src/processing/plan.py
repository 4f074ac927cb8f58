"""Which calls a task needs: its chunks, then, for a merge, one level of calls after another."""

from ..core.chunks import chunks
from ..core.merge import merge_groups, merge_system
from ..core.task import Reduce
from ..store.claims import CallKey, Claim


class Plan:
    """The levels planned so far. It follows from the task's text, cuts and outputs, so it is stored nowhere."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._chunks = chunks(claim.cuts, claim.overlap)
        self._merges: list[list[str]] = []
        self._merging = claim.options.reduce is Reduce.MERGE and len(claim.cuts) > 1

    @property
    def top(self) -> int:
        """The highest level planned so far."""
        return len(self._merges)

    @property
    def complete(self) -> bool:
        """Whether the top level is the last one: nothing is left to merge."""
        return not self._merging or (self.top > 0 and len(self._merges[-1]) == 1)

    @property
    def total(self) -> int:
        """The number of chunks."""
        return len(self._chunks)

    @property
    def minimum_calls(self) -> int:
        """Calls that the task needs when nothing fails, as far as it is known; exact once the plan is complete."""
        return self.total + sum(map(len, self._merges)) + (0 if self.complete else 1)

    def keys(self) -> list[CallKey]:
        """The calls of the top level, in order."""
        size = len(self._merges[-1]) if self._merges else self.total
        return [CallKey(self.top, position) for position in range(size)]

    def add_level(self, outputs: list[str]) -> None:
        """Plan the level that merges the outputs of the top level."""
        assert not self.complete
        self._merges.append(merge_groups(outputs, self._claim.merge_chars))

    def message(self, key: CallKey) -> tuple[str, str]:
        """Return what a call says: the system message and the user message."""
        if key.level == 0:
            chunk = self._chunks[key.position]
            return self._claim.instructions, self._claim.text[chunk.start : chunk.end]
        return merge_system(self._claim.instructions), self._merges[key.level - 1][key.position]
