"""Those who wait at a task's object for word of it: requests whose clients wait for the task, or follow it.

The object's own slice tells, so the word costs no subrequest and no look at the database. It is a hint: whoever gets it
looks. It is lost with the instance, and then its callers' calls fail, and they look by themselves.
"""

import asyncio
from collections.abc import Callable

from ..core import limits
from ..core.task import Mark
from ..processing.clock import seconds_until


class Audience:
    """The callers at one object. All of an object's events may await the same things, as no two requests may.

    `at_work` says whether a slice of the object is at work, or about to be: only as long are callers held. So they keep
    no object awake that would sleep.
    """

    def __init__(self, at_work: Callable[[], bool]) -> None:
        self._at_work = at_work
        self._mark = Mark(-1, -1)
        self._ended = False
        self._waiting: set[asyncio.Future[None]] = set()

    def tell(self, mark: Mark, ended: bool) -> None:
        """Say that this write has landed; `ended`: the task ended with it. An older one is nothing."""
        if mark >= self._mark:
            self._mark, self._ended = mark, ended
            self.look_up()

    def look_up(self) -> None:
        """Have each caller see whether there is word for it, and whether the object is still at work."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def hear(self, since: Mark, quiet: float, seconds: float) -> bool | None:
        """Return True once there is word of a write after `since`: of an end at once, of others after `quiet` seconds.

        False: there was none in so many seconds. None: nobody here could tell, or AUDIENCE_MOST callers wait already.
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
        self._waiting.add(woken)
        try:
            await asyncio.wait({woken}, timeout=seconds)
        finally:
            self._waiting.discard(woken)
