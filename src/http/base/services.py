"""The services of the application that the API's handlers call."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ...core.ids import TaskKey
from ...core.meter import Meter
from ...core.settings import Settings
from ...core.task import Mark
from ...inference.protocol import Provider
from ...kernel.feature import KindApi
from ...processing.dispatch import Dispatcher
from ...processing.invocation import Invocation
from ...processing.log import Log
from ...processing.rescue import Rescue
from ...processing.submission import Submission
from ...processing.sweep.on_request import SweepOnRequest
from ...store.keys import KeyStore
from ...store.tasks import TaskStore
from .isolate import RequestMemory


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
        """Count a request under a key of the rate limiter, and return whether the request is within the limit.

        Raises the error of the rate limiter's binding.
        """
        ...


class Clock(Protocol):
    """The isolate's time."""

    def __call__(self) -> int:
        """Return milliseconds since the epoch."""
        ...


@dataclass(frozen=True, slots=True)
class Api:
    """All functions and services that a handler may use. `entropy` gives random bytes for secrets.

    `kind_apis` gives what features add to the calls of tasks, and imports it.

    `meter` counts what the invocation uses of its allowance. `tell_object` tells a task's object under which fence the
    task has ended. `tell_object` takes at most two seconds, and raises nothing. `hear_object` waits until a task's
    object reports a write that is later than a mark (see `Audience.hear`). `hear_object` raises nothing, and gives None
    if no object works on the task.
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
    now_ms: Clock
    entropy: Callable[[int], bytes]
    meter: Meter
    log: Log
    day_use: DayUse | None = None
    rate_limiter: RateLimiter | None = None
