"""The requests that wait at a task's object, because their clients wait for the task or follow it.

The object's own slice notifies them, without a subrequest or a read of the database. A notice is a hint: its receiver
then reads the task. If the instance is lost, the waiting calls fail, and their callers read the task themselves.
"""

import asyncio
from collections.abc import Callable

from ..core import limits
from ..core.task import Mark
from ..processing.clock import seconds_until


class Audience:
    """The calls that wait at one object. Events of an object may share futures, but two requests may not.

    `at_work` says whether a slice of the object works or is about to. Without a slice the object holds no caller, so
    callers do not keep the object awake longer.
    """

    def __init__(self, at_work: Callable[[], bool]) -> None:
        self._at_work = at_work
        self._mark = Mark(-1, -1)
        self._ended = False
        # A dict keeps the order in which the callers came. A set's order differs from run to run.
        self._waiting: dict[asyncio.Future[None], None] = {}

    def tell(self, mark: Mark, ended: bool) -> None:
        """Record that this write has landed.

        `ended` says that the task ended with this write. An older write is ignored.
        """
        if mark >= self._mark:
            self._mark, self._ended = mark, ended
            self.look_up()

    def look_up(self) -> None:
        """Wake each caller, which checks whether a write is new to it and whether the object still works."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def hear(self, since: Mark, quiet: float, seconds: float) -> bool | None:
        """Return True after a write later than `since`: at once for an end, otherwise after `quiet` seconds.

        Returns False if there was none within `seconds`. Returns None if no slice works here, or if AUDIENCE_MOST
        callers wait already.
        """
        now = asyncio.get_running_loop().time
        quiet_until, until = now() + quiet, now() + min(seconds, limits.WAIT_SECONDS_MOST)
        if len(self._waiting) >= limits.AUDIENCE_MOST:
            return None
        while True:
            has_word = self._mark > since
            if has_word and (self._ended or now() >= quiet_until):
                return True
            if not self._at_work():
                return None
            if now() >= until:
                return False
            await self._woken(seconds_until(min(quiet_until, until) if has_word else until))

    async def _woken(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._waiting[woken] = None
        try:
            await asyncio.wait({woken}, timeout=seconds)
        finally:
            del self._waiting[woken]
