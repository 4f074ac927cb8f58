"""Decides when an open stream of a task's events reads the task again, and when the stream stops.

It stops before the invocation's allowance is used up, and knows neither the events nor their format.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from ...calls.clock import seconds_until
from ...domain import limits
from ...domain.errors import StoreError
from ...domain.ids import TaskKey
from ...domain.task import Task
from ...run.waits import OVERDUE
from ...store.events import Look
from ..base.exchange import Exchange
from ..base.problems import Refusal
from .listening import Listener, look_seconds

# Subrequests that a stream keeps back for the reads after its last look: the whole task, twice if its deadline has
# passed by then, and the client's API key.
_RESERVE = 4


class Follower:
    """Reads a task again and again until its stream has sent the task's end.

    `first` is the task's state at the opening of the stream, for which `reads` reads of D1 were made. `following` is
    the index of the chunk whose output the stream sends next, None if it sends no outputs; the sender advances it.
    """

    def __init__(self, exchange: Exchange, key: TaskKey, following: int | None, first: Look, *, reads: int = 1) -> None:
        self._api = exchange.api
        self._check_key = exchange.check_key
        self._key = key
        self._clock = asyncio.get_running_loop().time
        self._began_at = self._clock()
        self._ends_at = self._began_at + limits.EVENT_SECONDS
        self._reads_left = limits.EVENT_READS[self._api.settings.plan] - reads
        self._subrequests_most = self._api.settings.subrequests - _RESERVE
        self._help_at = self._clock()
        self._comment_at = self._clock() + limits.EVENT_COMMENT_SECONDS
        self._first = first
        self._took = 0.0  # How many seconds the last read took.
        self._listener = Listener(self._api, key)
        self.following = following

    async def looks(self) -> AsyncGenerator[Look | None]:
        """Yield each read, and None when a comment is due, until the task, key, database or allowance ends."""
        look: Look | None = self._first
        try:
            while look is not None:
                yield look
                following = asyncio.ensure_future(self._next(look))
                async with aclosing(self._beside(following)) as dues:
                    async for due in dues:
                        yield due
                look = following.result()
        except Refusal as refusal:
            self._api.log("stream_refused", task=self._key, code=refusal.kind.code)
        except StoreError as error:
            self._api.log("stream_failed", task=self._key, code=error.code)
        finally:
            seconds = round(self._clock() - self._began_at, 1)
            self._api.log("stream_closed", task=self._key, seconds=seconds, **self._api.meter.facts())

    async def _next(self, look: Look) -> Look | None:
        """Help a task that has no worker, pause, and read the task. None: it is gone, or the stream has to end."""
        if look.needs_help and self._clock() >= self._help_at:
            await self._help()
        if look.all_read or self.following is None:
            await self._rest(look)
        if not self._may_look():
            return None
        began = self._clock()
        found = await self._look(look.completed if self.following is not None and look.all_read else -1)
        self._took = self._clock() - began
        return found

    def _may_look(self) -> bool:
        """Count one read, and say whether the allowance suffices for it and for the reads at the stream's end."""
        self._reads_left -= 1
        spent = self._api.meter.subrequests >= self._subrequests_most
        return self._reads_left >= 0 and not spent and self._clock() < self._ends_at

    async def _look(self, known: int) -> Look | None:
        """Check the client's API key, and read the task. Fail a task whose deadline has passed, and read it again."""
        api = self._api
        await self._check_key()
        look = await api.store.look(self._key, self.following, known)
        if look is None or not look.overdue:
            return look
        await api.store.expire([self._key], OVERDUE, api.settings.retention_ms)
        return await api.store.look(self._key, self.following, known)

    async def _help(self) -> None:
        """Run or send off a task that has no worker, as a poll does. The stream goes on beside it."""
        self._help_at = self._clock() + limits.EVENT_HELP_SECONDS
        task = await self._api.store.task(self._key)
        if task is not None:
            self._api.rescue.wait_until(self._rescue(task))

    async def _rescue(self, task: Task) -> None:
        try:
            await self._api.rescue.help(task, limits.WAIT_SECONDS_MOST)
        except StoreError as error:
            self._api.log("help_failed", task=self._key, code=error.code)

    async def _beside(self, work: asyncio.Future[Any]) -> AsyncGenerator[None]:
        """Wait until `work` is done. Yields None when a comment is due, which keeps the connection and probes it."""
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=seconds_until(self._comment_at))
                if self._clock() >= self._comment_at:
                    self._comment_at = self._clock() + limits.EVENT_COMMENT_SECONDS
                    yield None
            await work
        finally:
            if work.cancel():
                await asyncio.wait({work}, timeout=limits.DROP_SECONDS_MOST)

    async def _rest(self, look: Look) -> None:
        """Pause. A notice of a write ends the pause, but not before the shortest pause between two reads."""
        pause, soonest = look_seconds(look.silent_ms / 1000, self._took), look_seconds(0.0, self._took)
        await self._listener.rest(look.pulse, pause, max(pause, limits.EVENT_LOOK_SECONDS_MOST), soonest)
