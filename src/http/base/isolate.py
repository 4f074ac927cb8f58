"""What an isolate remembers between invocations: keys, the state of its model and database, and triggers."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ...core import limits
from ...core.calls.news import ModelNews
from ...core.calls.pace import Latency
from ...core.database_load import DatabaseLoad
from ...core.errors import StoreError
from ...core.keys import Key
from ...core.marks import Marks
from ...core.settings import Settings
from ...core.storage import Storage
from ...inference.protocol import Health, Provider
from ...processing.heartbeats import TriggerHeartbeats

_PAUSE_SECONDS = 0.1


class _Entry(NamedTuple):
    key: Key
    asked_at: float


class KeyCache:
    """Keys by the fingerprint of the whole text that was sent, so that a wrong secret finds nothing.

    `seconds` are those of a clock that does not jump. `revision` rises with each removal. A reader of D1 notes it
    first, and a key that was read before a removal is not remembered after it.
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
        """Whether D1 has ever confirmed the key. No other text has this fingerprint."""
        return fingerprint in self._entries

    def remember(self, fingerprint: bytes, key: Key, *, asked_at: float, revision: int) -> None:
        """Keep a key that D1 confirmed at `asked_at`. Beyond KEY_CACHE_MOST the oldest entry goes."""
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
        """Keep a text that D1 refused at `asked_at`. Beyond REFUSED_CACHE_MOST the oldest entry goes."""
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
        """Give a lookup back, because its key was found. Only refused keys use lookups up."""
        self._left = min(self._left + 1, limits.LOOKUPS_AT_ONCE)


class Checked(NamedTuple):
    """The result of a probe, and its time by the isolate's clock, milliseconds since the epoch."""

    health: Health
    at_ms: int


class ModelCheck:
    """Probes at most once in MODEL_CHECK_SECONDS, for any number of requests."""

    def __init__(self) -> None:
        self._last: Checked | None = None
        self._done_at = 0.0
        self._began_at: float | None = None

    async def read(self, provider: Provider, now_ms: Callable[[], int]) -> Checked:
        """Return the last result, or probe.

        Requests that come during a probe wait for its result by the clock, because the runtime does not let a request
        await what belongs to another. A probe whose request died is given up in time.
        """
        clock = asyncio.get_running_loop().time
        while True:
            now = clock()
            if self._last is not None and now - self._done_at < limits.MODEL_CHECK_SECONDS:
                return self._last
            if self._began_at is None or now - self._began_at >= limits.MODEL_CHECK_SECONDS:
                return await self._probe(provider, now_ms, now)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _probe(self, provider: Provider, now_ms: Callable[[], int], began_at: float) -> Checked:
        self._began_at = began_at
        try:
            health = await provider.probe()
        finally:
            self._began_at = None
        self._last = Checked(health, now_ms())
        self._done_at = asyncio.get_running_loop().time()
        return self._last


class DatabaseCheck:
    """Checks the database at most once in DATABASE_CHECK_SECONDS, for any number of requests.

    It keeps numbers and a class. An error itself would keep objects of its request alive.
    """

    def __init__(self) -> None:
        self._began_at = -math.inf  # when the last check began
        self._answered = -math.inf  # when the check began whose answer is kept
        self._done_at = -math.inf  # when that check ended
        self._refused: type[StoreError] | None = None

    async def read(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Make a check, or return or raise StoreError as the last finished check did.

        With a fast database the answer is a second old, and otherwise at most STORE_SECONDS_OF_REQUEST. Requests that
        find no answer wait for one by the clock. Then they check themselves, because the request of the last check may
        have died.
        """
        clock = asyncio.get_running_loop().time
        while (now := clock()) - self._began_at < limits.DATABASE_CHECK_SECONDS:
            if now - self._done_at < limits.STORE_SECONDS_OF_REQUEST:
                if self._refused is not None:
                    raise self._refused("as the database answered a moment ago")
                return
            await asyncio.sleep(_PAUSE_SECONDS)
        await self._check(ready, now)

    async def _check(self, ready: Callable[[], Awaitable[None]], began_at: float) -> None:
        self._began_at = began_at
        try:
            await ready()
        except StoreError as error:
            self._keep(began_at, type(error))
            raise
        self._keep(began_at, None)

    def _keep(self, began_at: float, refused: type[StoreError] | None) -> None:
        if began_at >= self._answered:  # the result of a later check is newer, whichever ended last
            self._answered, self._done_at, self._refused = began_at, asyncio.get_running_loop().time(), refused


class Isolate:
    """The memory of one isolate. Losing it costs calls, never correctness."""

    def __init__(self) -> None:
        self.settings: Settings | None = None  # None until they have been read
        self.keys = KeyCache()
        self.refused = RefusedTexts()
        self.lookups = Lookups()
        self.load = DatabaseLoad()
        self.model = ModelCheck()
        self.database = DatabaseCheck()
        self.latency = Latency()
        self.heartbeats = TriggerHeartbeats()
        self.storage = Storage()
        self.news = ModelNews()
        self.marks = Marks()
