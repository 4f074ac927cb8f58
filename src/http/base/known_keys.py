"""An isolate's knowledge of keys: which ones D1 confirmed, which it refused, and how many the isolate may look up."""

import math
from typing import NamedTuple

from ...core import limits
from ...core.keys import Key


class _Entry(NamedTuple):
    key: Key
    asked_at: float


class KeyCache:
    """Keys by the fingerprint of the whole text that was sent, so that a wrong secret finds nothing.

    `seconds` come from a clock that does not jump. `revision` rises with each removal. A reader of D1 takes the
    revision before it reads. So a key that was read before a removal is not remembered after it.
    """

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self.revision = 0

    def find(
        self, fingerprint: bytes, seconds: float, now_ms: int, within: float = limits.KEY_CACHE_SECONDS
    ) -> Key | None:
        """Return a key that D1 confirmed less than `within` seconds ago and that has not expired."""
        entry = self._entries.get(fingerprint)
        if entry is None:
            return None
        key, asked_at = entry
        is_fresh = 0 <= seconds - asked_at < within
        return key if is_fresh and (key.expires_at is None or now_ms < key.expires_at) else None

    def has_had(self, fingerprint: bytes) -> bool:
        """Whether D1 has ever confirmed the key. No other text has the fingerprint of such a key."""
        return fingerprint in self._entries

    def remember(self, fingerprint: bytes, key: Key, *, asked_at: float, revision: int) -> None:
        """Keep a key that D1 confirmed at `asked_at`. Beyond KEY_CACHE_MOST the oldest entry is dropped."""
        if revision != self.revision:
            return
        self._entries.pop(fingerprint, None)
        self._entries[fingerprint] = _Entry(key, asked_at)
        if len(self._entries) > limits.KEY_CACHE_MOST:
            del self._entries[next(iter(self._entries))]

    def refuse(self, fingerprint: bytes) -> None:
        """Drop a key that D1 no longer confirms."""
        self._entries.pop(fingerprint, None)

    def forget(self, key_id: str) -> None:
        """Drop a key, and discard reads of keys that are under way."""
        self.revision += 1
        self._entries = {mark: entry for mark, entry in self._entries.items() if entry.key.id != key_id}


class RefusedTexts:
    """Texts that were no valid keys a moment ago, by their fingerprints."""

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[bool, float]] = {}

    def find(self, fingerprint: bytes, seconds: float) -> bool | None:
        """Return None if the text was not refused within REFUSED_CACHE_SECONDS, else whether any key existed."""
        any_key, asked_at = self._entries.get(fingerprint, (False, -math.inf))
        return any_key if 0 <= seconds - asked_at < limits.REFUSED_CACHE_SECONDS else None

    def remember(self, fingerprint: bytes, *, any_key: bool, asked_at: float) -> None:
        """Keep a text that D1 refused at `asked_at`. Beyond REFUSED_CACHE_MOST the oldest entry is dropped."""
        self._entries.pop(fingerprint, None)
        self._entries[fingerprint] = (any_key, asked_at)
        if len(self._entries) > limits.REFUSED_CACHE_MOST:
            del self._entries[next(iter(self._entries))]


class Lookups:
    """How many unknown keys may be looked up: LOOKUPS_AT_ONCE, and LOOKUPS_A_SECOND more each second."""

    def __init__(self) -> None:
        self._left = float(limits.LOOKUPS_AT_ONCE)
        self._at = -math.inf

    def take(self, seconds: float) -> bool:
        """Take a lookup. False: none is left."""
        gained = max(0.0, seconds - self._at) * limits.LOOKUPS_A_SECOND
        self._left, self._at = min(self._left + gained, limits.LOOKUPS_AT_ONCE), seconds
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def give_back(self) -> None:
        """Give a lookup back, because its key was found. Only look-ups of refused keys use up the allowance."""
        self._left = min(self._left + 1, limits.LOOKUPS_AT_ONCE)
