"""Starts, awaits and cancels the groups of a run's model calls, which no other module does."""

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
    """A model call that has ended, together with its outcome."""

    key: CallKey
    result: CallOutcome
    started: float  # When the call's group was sent, by the run's clock.
    seconds: float  # How many seconds the call's group took.


class CallGroups:
    """Starts groups of calls, which `caller` makes for the run.

    `message` is a function that returns the content of a call, and `seconds` is how long a call may take. A group
    without an answer counts as open for the rest of the run, even if its calls are sent again in other groups: it holds
    one of the six connections that an invocation may have open, and only another invocation has new connections. When
    all connections are held by groups without an answer, the run ends, and the task's next run continues.
    """

    def __init__(self, caller: ModelCaller, message: Callable[[CallKey], ModelCall], seconds: float) -> None:
        self._caller = caller
        self._message = message
        self._seconds = seconds
        self._out: list[asyncio.Task[list[EndedCall]]] = []
        self._silent = 0
        self._longest = 0.0  # How many seconds the longest of the ended calls took.
        self._event: asyncio.Future[bool] | None = None  # The future that the method `wait` is awaiting.

    @property
    def groups_out(self) -> int:
        """Return how many groups of calls are in flight.

        A group that did not answer in time counts until the run ends.
        """
        return len(self._out) + self._silent

    @property
    def free(self) -> int:
        """Return how many more model calls the caller can make now."""
        return max(0, self._caller.groups_most - self.groups_out) * self._caller.group_size

    def start(self, keys: Sequence[CallKey], starts_by: float) -> int:
        """Send calls in groups. No call of the started group starts after `starts_by`.

        Returns the number of groups. Each group is one subrequest.
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
        """Wait until a group ends, `until` has passed, or `hint` is done, and return the calls that have ended.

        Groups that end at nearly the same time are returned together, so that one write records them.

        `last` says that no other call could start now, so it costs nothing to wait for further groups. The wait for
        further groups of calls ends at `deadline`. The calls are sorted by their keys, so that the content of a write
        does not depend on the order of a set.
        """
        if not self._out:
            assert until < math.inf  # a run without calls in flight and without a time limit would have ended its claim
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
        """Wait until a group ends or the hint is done, for at most `seconds`. Return whether `seconds` are over.

        The timer decides whether the time is over, because the clock may show slightly less time when the timer fires.

        Calls that started together, for example six, end one by one, and each end starts a new wait. `asyncio.wait`
        would add a callback to each group in flight for each wait, and remove it afterwards; one shared future costs
        less.
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
        """Return for how many seconds ended calls wait for others, because one write for several calls saves writes.

        While ended calls wait, no new calls start in their place, so the wait is only a fraction of the calls'
        duration. If no new call could start anyway, ended calls wait as long as they took, unless one of them failed,
        because a failed call may soon be made again.
        """
        finished = _finished(done)
        seconds = max(call.seconds for call in finished)
        is_slow = max(seconds, self._longest) >= limits.QUICK_CALL_SECONDS
        most = limits.LINGER_SECONDS_MOST if is_slow else limits.LINGER_SECONDS_QUICK
        free = last and not any(isinstance(call.result, ModelError) for call in finished)
        return min(seconds if free else limits.LINGER_FRACTION * seconds, most)

    def ended(self) -> list[EndedCall]:
        """Return the calls that have ended by now, without waiting."""
        return self._taken(self._ended())

    async def rest(self) -> list[EndedCall]:
        """Wait until all groups in flight have ended, and return their calls."""
        if self._out:
            await asyncio.wait(self._out)
        return self.ended()

    async def drop(self) -> list[EndedCall]:
        """Cancel the calls in flight, and wait for their end, because a cancelled call may have a connection to close.

        Returns the calls that had already ended and were not recorded yet, because they are paid for. A call that does
        not end within DROP_SECONDS_MOST is no longer waited for, so that it does not delay the run.
        """
        dropped, self._out = self._out, []
        for group in dropped:
            group.cancel()
        if not dropped:
            return []
        ended, _ = await asyncio.wait(dropped, timeout=limits.DROP_SECONDS_MOST)
        # Reading each asyncio task's exception prevents asyncio from reporting it as never retrieved.
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
