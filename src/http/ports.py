"""What the HTTP layer is given: a request to read, and the parts of the application that it calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..core.settings import Settings
from ..inference.protocol import Provider
from ..processing.dispatch import Dispatcher
from ..processing.log import Log
from ..processing.submission import Submission
from ..store.keys import KeyStore
from ..store.tasks import TaskStore
from .isolate import Isolate


class BodyTooLarge(Exception):
    """The body passed the size that the reader allowed; reading stopped there."""


class BodyBroken(Exception):
    """The body ended before its time, or is not framed as its headers say; maybe the client went away."""


class Request(Protocol):
    """One HTTP request. Header names are looked up in lower case."""

    method: str
    url: str
    headers: Mapping[str, str]

    async def read(self, most: int) -> bytes:
        """Read the body as it streams in. Raises BodyTooLarge as soon as more than `most` bytes have come."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; `body` is UTF-8 text, empty for none."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BoundRoutes:
    """Which bindings the deployment has."""

    queue: bool
    dead_letter_queue: bool
    objects: bool


class DayUse(Protocol):
    """The local runtime's count of what was used today, by the names of `limits.FREE_PLAN_DAY`, and `day`."""

    async def read(self) -> Mapping[str, object]:
        """Read it."""
        ...


class RateLimiter(Protocol):
    """The deployment's limiter of requests."""

    async def allows(self, key: str) -> bool:
        """Count a request under this key and say whether it is within the limit. Raises whatever its binding raises."""
        ...


@dataclass(frozen=True, slots=True)
class Api:
    """Everything that a route may use. `entropy` gives random bytes fit for keys."""

    settings: Settings
    store: TaskStore
    keys: KeyStore
    isolate: Isolate
    submission: Submission
    dispatcher: Dispatcher
    provider: Provider
    bound: BoundRoutes
    now_ms: "Clock"
    entropy: Callable[[int], bytes]
    log: Log
    day_use: DayUse | None = None
    rate_limiter: RateLimiter | None = None


class Clock(Protocol):
    """The isolate's time."""

    def __call__(self) -> int:
        """Return milliseconds since the epoch."""
        ...
