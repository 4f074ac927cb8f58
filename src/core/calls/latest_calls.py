"""A tenant's latest calls with one model: how the latest call of each chunk ended, and when. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .. import limits


class LatestCall(NamedTuple):
    """How the latest call for a chunk ended. `chunk` is a number that identifies the chunk and reveals nothing else."""

    chunk: int
    at: float
    succeeded: bool


class LatestCalls:
    """The latest model call of each chunk, for the chunks that had a call most recently.

    `LatestCalls` keeps one chunk more than `others` returns, because a chunk is not judged by its own calls.
    """

    def __init__(self) -> None:
        self._calls: dict[int, LatestCall] = {}

    def __iter__(self) -> Iterator[LatestCall]:
        """The latest call is the first in the list."""
        return iter(sorted(self._calls.values(), key=lambda call: -call.at))

    def note(self, call: LatestCall) -> bool:
        """Record a call.

        Returns False if the call is dropped: a call of the same chunk is as new or newer, or enough other chunks have
        newer calls.
        """
        known = self._calls.get(call.chunk)
        if known is not None and known.at >= call.at:
            return False
        self._calls[call.chunk] = call
        if len(self._calls) > limits.LATEST_CALLS_KEPT:
            oldest = min(self._calls.values(), key=lambda kept: kept.at)
            del self._calls[oldest.chunk]
            return oldest is not call
        return True


def others(chunk: int, calls: Iterable[LatestCall], now: float) -> list[LatestCall]:
    """Return the latest calls of up to ten chunks other than `chunk`, newest first, none older than 15 minutes."""
    found = [call for call in calls if call.chunk != chunk and now - call.at <= limits.OTHERS_SECONDS]
    return sorted(found, key=lambda call: -call.at)[: limits.OTHERS_MOST]
