"""Pauses between the reads of a request that waits for a task or follows it.

A notice from nearby ends the pauses early.

Reports have two sources. An object that works on the task holds our call, and answers it after an end or progress. A
worker in this isolate leaves marks in the isolate's memory. Other hosts cannot notify us, so we poll.
"""

import asyncio

from ...core import limits
from ...core.ids import TaskKey
from ...core.marks import Pulse
from ...core.states import Status
from ...core.task import Mark, Route
from ...processing.clock import seconds_until
from ..base.services import Api

NOTHING = Mark(-1, -1)


class Listener:
    """Listens for one request that waits for a task or follows it.

    A notice counts once, and only if its write is later than what the last read saw. A notice that is repeated, late,
    from an earlier life of the task, or false costs one read.
    """

    def __init__(self, api: Api, key: TaskKey) -> None:
        self._marks = api.isolate.marks
        self._hear_object = api.hear_object
        self._most = limits.NEAR_SECONDS_MOST[api.settings.plan]
        self._key = key
        self._heard = NOTHING  # The newest mark that counted as a report.
        self._told_at: Mark | None = None  # The mark that the last read had seen when the object reported.
        self._mute: tuple[int, Status] | None = None

    async def rest(self, seen: Pulse, short: float, long: float, quiet: float) -> bool:
        """Pause after a read.

        Returns True if there was notice of a later write: an end at once, others after `quiet` seconds.

        The wait lasts `short` seconds if no host can send notices, and up to `long` as long as one could.
        """
        began = asyncio.get_running_loop().time()
        if self._may_ask(seen, long):
            heard = await self._hear_object(self._key, seen.mark, quiet, long)
            self._told_at = seen.mark if heard else None
            if heard is not None:
                return heard
            self._mute = (seen.mark.fence, seen.status)
        return await self._near(seen.mark, began, short, long, quiet)

    def _may_ask(self, seen: Pulse, long: float) -> bool:
        """Whether the task's object may be at work on it.

        If the object was not at work on the task, the object is not asked again in the same state of the task. If the
        next read did not confirm the object's notice, the object is not asked again until a read finds a change.
        """
        at_work = seen.status is Status.PROCESSING or seen.mark.fence == 0
        is_there = seen.route is Route.DURABLE_OBJECT and at_work and long > limits.NEAR_SECONDS
        return is_there and self._mute != (seen.mark.fence, seen.status) and self._told_at != seen.mark

    async def _near(self, seen: Mark, began: float, short: float, long: float, quiet: float) -> bool:
        """Check the isolate's memory: often after a change, less often the longer nothing changes.

        Each check takes some CPU time.
        """
        clock = asyncio.get_running_loop().time
        last, news_at = None, began
        while True:
            now, known = clock(), self._marks.find(self._key)
            if known is not None and known.mark > max(seen, self._heard) and (known.ended or now - began >= quiet):
                self._heard = known.mark
                return True
            if known != last:
                last, news_at = known, now
            is_near = known is not None and now < known.until
            until = began + (long if is_near else short)
            if now >= until:
                return False
            silence = (now - news_at) * (limits.NEAR_FRACTION if is_near else limits.NEAR_FRACTION_UNKNOWN)
            await asyncio.sleep(min(seconds_until(until), self._most, max(limits.NEAR_SECONDS, silence)))
