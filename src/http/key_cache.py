"""The valid keys that an isolate has seen lately: their repeated use costs no D1 call, for a bounded time."""

from typing import NamedTuple

from ..core import limits
from ..core.keys import Key


class _Entry(NamedTuple):
    key: Key
    asked_at: float


class KeyCache:
    """Keys by the fingerprint of the whole text that was presented, so that a wrong secret finds nothing.

    `seconds` are those of a clock that does not jump. `revision` rises with each removal: whoever asks D1 notes it
    first, and what was read before a removal is not remembered after it.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self.revision = 0

    def find(self, fingerprint: bytes, seconds: float, now_ms: int) -> Key | None:
        """Return a key that D1 vouched for at most KEY_CACHE_SECONDS ago and whose own time is not over."""
        entry = self._entries.get(fingerprint)
        if entry is None:
            return None
        key, asked_at = entry
        is_fresh = 0 <= seconds - asked_at < limits.KEY_CACHE_SECONDS
        if is_fresh and (key.expires_at is None or now_ms < key.expires_at):
            return key
        del self._entries[fingerprint]
        return None

    def remember(self, fingerprint: bytes, key: Key, *, asked_at: float, revision: int) -> None:
        """Keep a key that D1 was asked about at `asked_at`; beyond KEY_CACHE_MOST the oldest goes."""
        if revision != self.revision:
            return
        self._entries.pop(fingerprint, None)
        self._entries[fingerprint] = _Entry(key, asked_at)
        if len(self._entries) > limits.KEY_CACHE_MOST:
            del self._entries[next(iter(self._entries))]

    def forget(self, key_id: str) -> None:
        """Drop a key, and whatever is being read of any."""
        self.revision += 1
        self._entries = {mark: entry for mark, entry in self._entries.items() if entry.key.id != key_id}
