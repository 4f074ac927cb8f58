"""The rolling trace of a run: which handle went when, and what the platform did. Equal digests, equal runs."""

from array import array
from hashlib import blake2b

_FLUSH_AT = 1 << 16


class Trace:
    """Numbers in, one digest out. `steps` is a plain list so that the loop can append to it cheaply."""

    __slots__ = ("_hash", "steps")

    def __init__(self) -> None:
        self.steps: list[int] = []
        self._hash = blake2b(digest_size=16)

    def advance(self, now_seconds: float) -> None:
        """Note that the clock moved, and fold the numbers so far into the hash when there are many."""
        self.steps.append(-int(now_seconds * 1e9))
        if len(self.steps) > _FLUSH_AT:
            self._fold()

    def digest(self) -> str:
        """Hexadecimal digest of everything noted so far."""
        self._fold()
        return self._hash.hexdigest()

    def _fold(self) -> None:
        self._hash.update(array("q", self.steps).tobytes())
        self.steps.clear()
