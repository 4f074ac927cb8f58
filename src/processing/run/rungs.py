"""Keeps the answers of a task that were rejected, and decides whether a call is made again after one. Pure.

The last rejected answer to a call, with the number of them, is stored with the failures of the call, so that a later
claim continues to count: see docs/decisions/state.md#d0048.
"""

from ...core.structure import Rejection
from ...inference.protocol import ModelReply
from ...store.records.claims import CallKey, Claim
from ...store.records.ladder import LadderCounts


class Rejections:
    """The rejected answers of a task, under this claim and earlier claims, and their counts on the task's bill."""

    def __init__(self, claim: Claim, reasks_most: int) -> None:
        self._last = dict(claim.rejections)
        self._reasks_most = reasks_most
        self._reasks, self._rejected, self._repaired, _ = claim.ladder

    def of(self, key: CallKey) -> Rejection | None:
        """Return the last rejected answer to a call; None if no answer to the call was rejected."""
        return self._last.get(key)

    def made(self, key: CallKey) -> None:
        """Note that a model call for an output has ended.

        A call counts as a reask if an earlier answer for the same output was rejected.
        """
        self._reasks += key in self._last

    def accepted(self, key: CallKey, reply: ModelReply) -> None:
        """Note that a call has given an output."""
        self._last.pop(key, None)
        self._repaired += reply.repaired

    def rejected(self, key: CallKey, rejection: Rejection) -> bool:
        """Keep a rejected answer, and return whether the call has failed for good."""
        before = self._last.get(key)
        times = 1 if before is None else before.times + 1
        self._last[key] = Rejection(rejection.answer, rejection.faults, rejection.finish_reason, times)
        self._rejected += 1
        return rejection.final or times > self._reasks_most

    def counts(self, coverage: float | None) -> LadderCounts:
        """Return the counters for the task's row. `coverage` is the share of the text that is not in gaps."""
        return LadderCounts(self._reasks, self._rejected, self._repaired, coverage)
