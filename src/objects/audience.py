"""Holds calls of requests that wait at a task's object because their clients wait for the task or follow its events.

A slice of the object wakes the waiting calls after each write to the task, without a subrequest or a read of D1. After
the answer, which is only a hint, or if the object's instance is lost, the request reads the task.
"""

import asyncio
from collections.abc import Callable

from ..kernel.calls.clock import seconds_until
from ..kernel.domain import limits
from ..kernel.domain.task import Mark


class Audience:
    """The calls of requests that wait at one object for its task.

    Calls to one object may share futures, whereas two requests may not. `at_work` says whether a slice of the object is
    at work or will start soon. Without one no call waits, so that calls do not keep the object awake longer.
    """

    def __init__(self, at_work: Callable[[], bool]) -> None:
        self._at_work = at_work
        self._mark = Mark(-1, -1)
        self._ended = False
        # The keys of a dict keep the order in which the calls came, whereas the order of a set differs from run to run.
        self._waiting: dict[asyncio.Future[None], None] = {}

    def tell(self, mark: Mark, ended: bool) -> None:
        """Note a write, and whether it `ended` the task, and wake the calls. One older than the last is ignored."""
        if mark >= self._mark:
            self._mark, self._ended = mark, ended
            self.look_up()

    def look_up(self) -> None:
        """Wake each waiting call, so that it checks for a new write and for whether the object is still at work."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def hear(self, since: Mark, quiet: float, seconds: float) -> bool | None:
        """Return True after a write later than `since`: at once if it ended the task, else after `quiet` seconds.

        Returns False if no later write was made within `seconds`. Returns None if no slice works on the task here, or
        if AUDIENCE_MOST calls already wait.
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
