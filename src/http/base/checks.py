"""Shared checks of the model and of the database: one check serves all requests within a while."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ...core import limits
from ...core.errors import StoreError
from ...inference.protocol import Health, Provider

_PAUSE_SECONDS = 0.1


class Checked(NamedTuple):
    """The result of a probe, and its time by the isolate's clock, milliseconds since the epoch."""

    health: Health
    at_ms: int


class ModelCheck:
    """Probes the model at most once in MODEL_CHECK_SECONDS, for any number of requests."""

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

    The object keeps only numbers and a class, which requests may share. A kept error would keep objects of the error's
    request alive.
    """

    def __init__(self) -> None:
        self._began_at = -math.inf  # The time when the last check began.
        self._answered = -math.inf  # The time when the check began whose answer is kept.
        self._done_at = -math.inf  # The time when that check ended.
        self._refused: type[StoreError] | None = None

    async def read(self, ready: Callable[[], Awaitable[None]]) -> None:
        """Make a check, or return or raise StoreError as the last finished check did.

        With a fast database the answer is a second old, and otherwise at most STORE_SECONDS_OF_REQUEST. Requests that
        find no answer wait for one by checking the clock. If no answer comes, such requests check themselves, because
        the request of the last check may have died.
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
