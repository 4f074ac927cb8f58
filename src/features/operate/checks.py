"""Health checks of the model and of the database: the result of one check serves all requests for a few seconds."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ...kernel.calls.protocol import Health, Provider
from ...kernel.domain import limits
from ...kernel.domain.errors import StoreError

_PAUSE_SECONDS = 0.1


class Checked(NamedTuple):
    """The result of a probe of the model, and the time of the probe in milliseconds since the epoch."""

    health: Health
    at_ms: int


async def probe(provider: Provider, now_ms: Callable[[], int]) -> Checked:
    """Probe the model."""
    health = await provider.probe()
    return Checked(health, now_ms())


class SharedRead[T]:
    """Something that an isolate reads at most once in `seconds`, for any number of requests."""

    seconds: float

    def __init__(self) -> None:
        self._last: tuple[T] | None = None
        self._done_at = 0.0
        self._began_at: float | None = None

    async def read(self, make: Callable[[], Awaitable[T]]) -> T:
        """Return what was read last while it is recent, else call `make`.

        A request that comes during another request's read sleeps until the result is there, because the runtime does
        not let a request await another request's future. If a read has no result after `seconds`, its request may
        have died, and the next request reads again.
        """
        clock = asyncio.get_running_loop().time
        while True:
            now = clock()
            if self._last is not None and now - self._done_at < self.seconds:
                return self._last[0]
            if self._began_at is None or now - self._began_at >= self.seconds:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        self._began_at = now
        try:
            found = await make()
        finally:
            self._began_at = None
        self._last, self._done_at = (found,), clock()
        return found


class ModelCheck(SharedRead[Checked]):
    """The last probe of the model."""

    seconds = limits.MODEL_CHECK_SECONDS


class DatabaseCheck:
    """Checks the database once in DATABASE_CHECK_SECONDS. An error's class is kept: an error would keep objects."""

    def __init__(self) -> None:
        self._began_at = -math.inf  # When the newest check of the database began, by the loop's clock.
        self._answered = -math.inf  # When the database check whose result is kept began.
        self._done_at = -math.inf  # When the database check whose result is kept ended.
        self._refused: type[StoreError] | None = None

    async def read(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Check the database, or repeat the last finished check's result: return, or raise StoreError.

        The kept result is a second old if the database is fast, and at most STORE_SECONDS_OF_REQUEST old otherwise.
        Without one, a request sleeps until a running check has a result. After DATABASE_CHECK_SECONDS it checks the
        database itself, because the request that ran the check may have died.
        """
        clock = asyncio.get_running_loop().time
        while (now := clock()) - self._began_at < limits.DATABASE_CHECK_SECONDS:
            if now - self._done_at < limits.STORE_SECONDS_OF_REQUEST:
                if self._refused is not None:
                    raise self._refused("as the database answered a moment ago")
                return
            await asyncio.sleep(_PAUSE_SECONDS)
        self._began_at = now
        try:
            await ready()
        except StoreError as error:
            self._keep(now, type(error))
            raise
        self._keep(now, None)

    def _keep(self, began_at: float, refused: type[StoreError] | None) -> None:
        if began_at >= self._answered:  # of two checks, the one that began later has the newer result
            self._answered, self._done_at, self._refused = began_at, asyncio.get_running_loop().time(), refused
