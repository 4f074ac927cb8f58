"""The groups of a run's calls that are out: only this module starts them, awaits them and drops them."""

import asyncio
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import batched, chain
from operator import attrgetter
from typing import NamedTuple

from ...core import limits
from ...core.errors import ModelError
from ...inference.protocol import ModelCall
from ...store.records.claims import CallKey
from .. import clock
from ..caller import CallOutcome, ModelCaller, Silence


class EndedCall(NamedTuple):
    """A call that came back."""

    key: CallKey
    result: CallOutcome
    started: float  # The time when its group was sent, by the run's clock.
    seconds: float  # How long its group was out.


class CallGroups:
    """Lets `caller` make calls; `message` returns the content of a call, and each call may take `seconds`.

    A group that gave no answer stays out for good, even when its calls go out again in other groups: its connection is
    one of the six, and only another invocation has new ones. When no group is left to form, the run ends and the next
    one takes over.
    """

    def __init__(self, caller: ModelCaller, message: Callable[[CallKey], ModelCall], seconds: float) -> None:
        self._caller = caller
        self._message = message
        self._seconds = seconds
        self._out: list[asyncio.Task[list[EndedCall]]] = []
        self._silent = 0
        self._longest = 0.0  # The seconds of the longest call that has ended.
        self._event: asyncio.Future[bool] | None = None  # The future that `wait` waits for.

    @property
    def groups_out(self) -> int:
        """Return how many groups are out. A group with a single call left counts like a whole one."""
        return len(self._out) + self._silent

    @property
    def free(self) -> int:
        """Return how many more calls may start, as far as the caller limits them."""
        return max(0, self._caller.groups_most - self.groups_out) * self._caller.group_size

    def start(self, keys: Sequence[CallKey], starts_by: float) -> int:
        """Start calls, each only if it is not too late.

        Return how many groups were made. Each group is a subrequest.
        """
        groups = list(batched(keys, self._caller.group_size))
        for group in groups:
            out = asyncio.create_task(self._call(group, starts_by))
            out.add_done_callback(self._tell)
            self._out.append(out)
        return len(groups)

    async def _call(self, keys: Sequence[CallKey], starts_by: float) -> list[EndedCall]:
        started = clock.now()
        results = await self._caller.call([self._message(key) for key in keys], self._seconds, starts_by)
        seconds = clock.now() - started
        return [EndedCall(key, result, started, seconds) for key, result in zip(keys, results, strict=True)]

    async def wait(
        self,
        until: float,
        hint: asyncio.Future[None] | None = None,
        *,
        last: bool = False,
        deadline: float = math.inf,
    ) -> list[EndedCall]:
        """Wait until a group ends, `until` passes or `hint` comes.

        Groups that end together are returned together, for one write.

        `last` says that no other call could start now, so these calls may wait for one another at no cost. No call
        waits for others beyond `deadline`. The calls are returned in their order, so that writes do not depend on the
        order of a set.
        """
        if not self._out:
            assert until < math.inf  # without a time limit the claim would have ended
            timeout = clock.seconds_until(until)
            if hint is None:
                await asyncio.sleep(timeout)
            else:
                await asyncio.wait([hint], timeout=timeout)
            return []
        while not self._ended() and (hint is None or not hint.done()):
            if await self._hear(hint, clock.seconds_until(until)) or clock.now() >= until:
                break
        began = clock.now()
        while (done := self._ended()) and len(done) < len(self._out) and (hint is None or not hint.done()):
            patient_until = min(began + self._linger_seconds(done, last=last), deadline)
            patience = patient_until - clock.now()
            if patience <= 0:
                break
            if await self._hear(hint, patience) and self._ended() == done:
                break
        return self._taken(done)

    async def _hear(self, hint: asyncio.Future[None] | None, seconds: float) -> bool:
        """Wait for a group to end, or for the hint, at most until a time. True: `seconds` are over.

        The timer decides when the time is over, because the clock may then show slightly less.

        A wave of six ends one by one, each time with a new look at how long the rest is waited for. `asyncio.wait`
        would take hold of every group that is out for each of these waits, and let go of it again.
        """
        loop = asyncio.get_running_loop()
        self._event = loop.create_future()
        timer = None if seconds == math.inf else loop.call_later(seconds, self._tell, None, True)
        if hint is not None:
            hint.add_done_callback(self._tell)
        try:
            return await self._event
        finally:
            self._event = None
            if timer is not None:
                timer.cancel()
            if hint is not None:
                hint.remove_done_callback(self._tell)

    def _tell(self, _ended: object, is_time: bool = False) -> None:
        if self._event is not None and not self._event.done():
            self._event.set_result(is_time)

    def _linger_seconds(self, done: Collection[asyncio.Task[list[EndedCall]]], *, last: bool) -> float:
        """Return how long calls that have ended wait for others: each shared write saves one write.

        While they wait no others start in their place, so the wait is a part of their duration; if none could start, it
        is as long as their duration. A failed call does not wait for that long, because it may be due again.
        """
        finished = _finished(done)
        seconds = max(call.seconds for call in finished)
        is_slow = max(seconds, self._longest) >= limits.QUICK_CALL_SECONDS
        most = limits.LINGER_SECONDS_MOST if is_slow else limits.LINGER_SECONDS_QUICK
        free = last and not any(isinstance(call.result, ModelError) for call in finished)
        return min(seconds if free else limits.LINGER_FRACTION * seconds, most)

    def ended(self) -> list[EndedCall]:
        """Return the calls that have ended by now, as `wait` does, without waiting."""
        return self._taken(self._ended())

    async def rest(self) -> list[EndedCall]:
        """Wait for all groups that are out, each as long as it may take, and start no other."""
        if self._out:
            await asyncio.wait(self._out)
        return self.ended()

    async def drop(self) -> list[EndedCall]:
        """Cancel the calls that are out, and wait for their end: a cancelled call may have a connection to close.

        Calls that had ended before, and were not taken in yet, are returned, because they are paid for. A call that
        does not end is abandoned after a while, so that it does not delay the run.
        """
        dropped, self._out = self._out, []
        for group in dropped:
            group.cancel()
        if not dropped:
            return []
        ended, _ = await asyncio.wait(dropped, timeout=limits.DROP_SECONDS_MOST)
        # Each task is asked for its exception, so that asyncio does not report the exception as never retrieved.
        return _finished(group for group in ended if not group.cancelled() and group.exception() is None)

    def _ended(self) -> list[asyncio.Task[list[EndedCall]]]:
        return [group for group in self._out if group.done()]

    def _taken(self, done: Collection[asyncio.Task[list[EndedCall]]]) -> list[EndedCall]:
        finished = _finished(done)
        self._longest = max([self._longest, *(call.seconds for call in finished)])
        self._silent += sum(isinstance(group.result()[0].result, Silence) for group in done)
        self._out = [group for group in self._out if group not in done]
        return finished


def _finished(groups: Iterable[asyncio.Task[list[EndedCall]]]) -> list[EndedCall]:
    return sorted(chain.from_iterable(group.result() for group in groups), key=attrgetter("key"))
