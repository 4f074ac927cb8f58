"""Records a run as a trace: which handle ran when, and what the database changed.

Runs whose traces have the same digest are the same.
"""

from array import array
from hashlib import blake2b

_FLUSH_AT = 1 << 16


class Trace:
    """Turns a run's numbers into one digest. `steps` is a plain list, so that the loop can append to it cheaply."""

    __slots__ = ("_hash", "steps")

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._hash = blake2b(digest_size=16)

    def advance(self, now_seconds: float) -> None:
        """Record that the clock moved. If `steps` has become long, fold its numbers into the hash."""
        self.steps.append(-int(now_seconds * 1e9))
        if len(self.steps) > _FLUSH_AT:
            self._fold()

    def digest(self) -> str:
        """Return the hexadecimal digest of all numbers that were recorded so far."""
        self._fold()
        return self._hash.hexdigest()

    def _fold(self) -> None:
        self._hash.update(array("q", self.steps).tobytes())
        self.steps.clear()
