"""Pauses between the looks of whoever waits for a task, cut short where somebody near has word of it.

Two can tell. An object that works on the task holds a call of ours, and answers it when the task has ended, or has come
further. And a worker in this isolate leaves marks in its memory. Of others nothing is heard, and looks find it out.
"""

import asyncio

from ..core import limits
from ..core.ids import TaskKey
from ..core.marks import Pulse
from ..core.states import Status
from ..core.task import Mark, Route
from ..processing.clock import seconds_until
from .services import Api

NOTHING = Mark(-1, -1)


class Listener:
    """Listens for one request, which waits for a task or follows it.

    A word is taken only if it is of a write after the one that the last look saw, and once: one that comes twice, or
    late, of an earlier life of the task, or that is not true, costs one look.
    """

    def __init__(self, api: Api, key: TaskKey) -> None:
        self._marks = api.isolate.marks
        self._hear_object = api.hear_object
        self._most = limits.NEAR_SECONDS_MOST[api.settings.plan]
        self._key = key
        self._heard = NOTHING  # the latest mark that was taken for word
        self._told_at: Mark | None = None  # what the last look had seen when the object had word
        self._mute: tuple[int, Status] | None = None

    async def rest(self, seen: Pulse, short: float, long: float, quiet: float) -> bool:
        """Pause after a look. True: there is word of a later write, of an end at once, of others after `quiet` seconds.

        It lasts `short` seconds where nobody can tell, and up to `long` ones as long as somebody could.
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

        One that was not is not asked again in the same state of the task. One that had word which the look after it did
        not bear out is not asked again until a look finds something new.
        """
        at_work = seen.status is Status.PROCESSING or seen.mark.fence == 0
        is_there = seen.route is Route.DURABLE_OBJECT and at_work and long > limits.NEAR_SECONDS
        return is_there and self._mute != (seen.mark.fence, seen.status) and self._told_at != seen.mark

    async def _near(self, seen: Mark, began: float, short: float, long: float, quiet: float) -> bool:
        """Look into the isolate's memory, often after news, and less often the longer there is none: each look there
        takes some of the CPU's time.
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
