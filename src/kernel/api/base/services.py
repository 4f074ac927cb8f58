"""The services that the API's handlers call, and what an isolate remembers of API keys."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ...calls.protocol import Provider
from ...domain import limits
from ...domain.ids import TaskKey
from ...domain.keys import Key
from ...domain.meter import Meter
from ...domain.settings import Settings
from ...domain.task import Mark
from ...feature import KindApi
from ...run.invocation import Invocation, Memory
from ...run.log import Log
from ...store.keys import KeyStore
from ...store.tasks import TaskStore
from ...work.dispatch import Dispatcher
from ...work.rescue import Rescue
from ...work.submission import Submission
from ...work.sweep.on_request import SweepOnRequest


class AnswerCache[Answer]:
    """What D1 answered lately about texts that clients sent as keys, by the fingerprints of the whole texts.

    Times in seconds are by the loop's clock, which does not jump.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: dict[bytes, tuple[Answer, float]] = {}

    def answer(self, fingerprint: bytes, seconds: float, within: float) -> Answer | None:
        """Return what D1 answered less than `within` seconds ago."""
        answer, asked_at = self._entries.get(fingerprint, (None, -math.inf))
        return answer if 0 <= seconds - asked_at < within else None

    def keep(self, fingerprint: bytes, answer: Answer, asked_at: float) -> None:
        """Keep an answer. Above the most, the one kept longest goes."""
        self._entries.pop(fingerprint, None)
        self._entries[fingerprint] = (answer, asked_at)
        if len(self._entries) > self._most:
            del self._entries[next(iter(self._entries))]


class KeyCache(AnswerCache[Key]):
    """Valid API keys. `revision` rises with each removal of a key.

    A request notes it before it reads a key from D1, so that a key read before its removal is not kept after it.
    """

    def __init__(self) -> None:
        super().__init__(limits.KEY_CACHE_MOST)
        self.revision = 0

    def find(
        self, fingerprint: bytes, seconds: float, now_ms: int, within: float = limits.KEY_CACHE_SECONDS
    ) -> Key | None:
        """Return a key that D1 confirmed less than `within` seconds ago and that has not expired."""
        key = self.answer(fingerprint, seconds, within)
        return None if key is None or (key.expires_at is not None and now_ms >= key.expires_at) else key

    def has_had(self, fingerprint: bytes) -> bool:
        """Whether a key with the given fingerprint, which D1 has confirmed, is still kept, expired or not."""
        return fingerprint in self._entries

    def remember(self, fingerprint: bytes, key: Key, *, asked_at: float, revision: int) -> None:
        """Keep a key that D1 confirmed at `asked_at`, unless a key was removed since then."""
        if revision == self.revision:
            self.keep(fingerprint, key, asked_at)

    def refuse(self, fingerprint: bytes) -> None:
        """Drop an API key that D1 no longer confirms."""
        self._entries.pop(fingerprint, None)

    def forget(self, key_id: str) -> None:
        """Drop a key. API keys that are being read from D1 while `forget` is called are not remembered."""
        self.revision += 1
        self._entries = {mark: entry for mark, entry in self._entries.items() if entry[0].id != key_id}


class Lookups:
    """Limits the look-ups of unknown keys to LOOKUPS_AT_ONCE, and LOOKUPS_A_SECOND more each second."""

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
        """Give a look-up back, because its key turned out valid: only look-ups of refused keys use up the allowance."""
        self._left = min(self._left + 1, limits.LOOKUPS_AT_ONCE)


class RequestMemory(Memory):
    """The memory of an isolate that answers HTTP requests as well as working on tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = KeyCache()
        # Texts that are no valid keys, and whether D1 had any key then.
        self.refused = AnswerCache[bool](limits.REFUSED_CACHE_MOST)
        self.lookups = Lookups()


class BoundRoutes(NamedTuple):
    """Which bindings the deployment has: the queue, the dead-letter queue, the Durable Objects."""

    queue: bool
    dead_letter_queue: bool
    objects: bool


class DayUse(Protocol):
    """The local runtime's count of today's use, by the names of `limits.FREE_PLAN_DAY`, with the date (`day`)."""

    async def read(self) -> Mapping[str, object]:
        """Read today's count."""
        ...


class RateLimiter(Protocol):
    """The deployment's limiter of requests."""

    async def allows(self, key: str) -> bool:
        """Count a request, and return whether it is within the limit. Raises the binding's error."""
        ...


@dataclass(frozen=True, slots=True)
class Api:
    """All functions and services that a handler may use. `entropy` gives random bytes for secrets.

    `kind_apis` imports what features add to the calls of tasks. `tell_object` tells a task's object under which fence
    the task has ended, in two seconds at most. `hear_object` waits until a task's object reports a write that is later
    than a mark (see `Audience.hear`), and gives None if no object works on the task. Both raise nothing.
    """

    invocation: Invocation
    settings: Settings
    store: TaskStore
    keys: KeyStore
    kind_apis: Callable[[], Sequence[KindApi]]
    isolate: RequestMemory
    submission: Submission
    dispatcher: Dispatcher
    rescue: Rescue
    sweeps: SweepOnRequest
    tell_object: Callable[[TaskKey, int], Awaitable[None]]
    hear_object: Callable[[TaskKey, Mark, float, float], Awaitable[bool | None]]
    provider: Provider
    bound: BoundRoutes
    now_ms: Callable[[], int]
    entropy: Callable[[int], bytes]
    meter: Meter
    log: Log
    day_use: DayUse | None = None
    rate_limiter: RateLimiter | None = None
