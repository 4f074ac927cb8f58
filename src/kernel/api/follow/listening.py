"""Pauses between the reads of a request that waits for a task or follows it.

A notice that the task has changed ends a pause early. A Durable Object that works on the task holds the request's call,
and answers it when the task has progressed or ended. A worker in the same isolate leaves a mark in its memory. Other
hosts cannot notify a request, so it also polls D1.
"""

import asyncio

from ...calls.clock import seconds_until
from ...domain import limits
from ...domain.ids import TaskKey
from ...domain.marks import Pulse
from ...domain.task import Mark, Route, Status, Task
from ..base.services import Api

NOTHING = Mark(-1, -1)


class Listener:
    """Listens for one request. A notice of a later write counts once; one that is false or late costs a read."""

    def __init__(self, api: Api, key: TaskKey) -> None:
        self._marks = api.isolate.marks
        self._hear_object = api.hear_object
        self._most = limits.NEAR_SECONDS_MOST[api.settings.plan]
        self._key = key
        self._heard = NOTHING  # The newest mark in the isolate's memory that counted as a notice.
        # The mark that the last read had seen when the task's object sent its newest notice.
        self._told_at: Mark | None = None
        self._mute: tuple[int, Status] | None = None

    async def rest(self, seen: Pulse, short: float, long: float, quiet: float) -> bool:
        """Pause after a read.

        Returns True if a notice of a later write came. A notice of the task's end ends the pause at once, any other
        notice after `quiet` seconds. Without one it lasts `short` seconds, or `long` while a host can send one.
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
        """Whether to ask the task's object for a notice: it may be working on the task.

        An object that was not working on the task is not asked again until the task's fence or status changes. An
        object whose notice the next read did not confirm is not asked again until a read finds a change.
        """
        at_work = seen.status is Status.PROCESSING or seen.mark.fence == 0
        is_there = seen.route is Route.DURABLE_OBJECT and at_work and long > limits.NEAR_SECONDS
        return is_there and self._mute != (seen.mark.fence, seen.status) and self._told_at != seen.mark

    async def _near(self, seen: Mark, began: float, short: float, long: float, quiet: float) -> bool:
        """Wait for a notice in the isolate's memory. Each check takes CPU, so they are rare while it is quiet."""
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


_PATIENT_AFTER_SECONDS = 10.0
_PATIENT_POLL_SECONDS = 1.0
_SPARING_GROWTH = 3.0
_SILENCE_FRACTION = 0.25


def poll_seconds(waited_seconds: float, look_took: float) -> float:
    """Return how long `?wait=` pauses between two reads: twice a second at first, later once a second.

    A wait of 25 s makes 34 reads if no host that works on the task can notify the request. As with a stream, the pause
    is at least ten times as long as the last read took, up to WAIT_TOLD_SECONDS: many requests that wait would
    otherwise keep a slow database slow.
    """
    usual = limits.WAIT_POLL_SECONDS if waited_seconds < _PATIENT_AFTER_SECONDS else _PATIENT_POLL_SECONDS
    return max(usual, min(limits.WAIT_TOLD_SECONDS, look_took * limits.LOOK_LATENCIES))


def look_seconds(silent_seconds: float, look_took: float) -> float:
    """Return how long a stream of events pauses after a read of its task.

    The pause is a quarter of `silent_seconds`, the time since the task's last write. It is at least ten times as long
    as the read took, up to 10 s, so that a slow database is asked less often.
    """
    wanted = max(limits.EVENT_LOOK_SECONDS_LEAST, silent_seconds * _SILENCE_FRACTION, look_took * limits.LOOK_LATENCIES)
    return min(limits.EVENT_LOOK_SECONDS_MOST, wanted)


def reads_left(task: Task, reads_after: int) -> int:
    """Return how many reads of its task a request with `?wait=` has left after the first, on the free plan.

    After the wait, `reads_after` reads of chunks or input follow. One more read is kept back for a task with a
    deadline, because the request reads the task again if the deadline has passed.
    """
    return limits.WAIT_READS_FREE - 1 - reads_after - (task.deadline_at is not None)


def sparing_seconds(left_seconds: float, reads: int) -> float:
    """Return the pause before the next read if `reads` reads are left.

    The last read of the task comes at the end of the request's wait. Each pause between two reads is three times the
    pause before it. With four reads left, a wait of 25 s reads the task after 0.6, 2.5, 8.1 and 25 s.
    """
    pause = left_seconds * (_SPARING_GROWTH - 1) / (_SPARING_GROWTH**reads - 1)
    return max(pause, limits.WAIT_POLL_SECONDS)
