"""Starts, awaits and cancels the groups of a run's model calls, which no other module does."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from itertools import batched, chain
from operator import attrgetter
from typing import NamedTuple

from ..calls import clock
from ..calls.caller import CallOutcome, HeldCall, ModelCaller, Silence
from ..calls.protocol import ModelCall
from ..domain import limits
from ..domain.errors import ModelError
from ..store.claims import CallKey

_LATEST_CALLS = 24
_CALLS_TO_JUDGE = 10  # With fewer calls it is unknown whether they take different times.
_UNEVEN_RATIO = 1.6
PARTS_COST = 3  # What a group that is answered in parts may still cost: two answers to record, and a further group.


class EndedCall(NamedTuple):
    """A model call that has ended, together with its outcome."""

    key: CallKey
    result: CallOutcome
    started: float  # When the call was sent, by the run's clock.
    seconds: float  # How many seconds passed from then until its group was answered.


class GroupAnswer(NamedTuple):
    """The answer of a group: the calls that have ended, and when each of the others was sent."""

    ended: list[EndedCall]
    going_on: "dict[CallKey, tuple[HeldCall, float]]"


class CallGroups:
    """Starts groups of calls, which `caller` makes for the run.

    `message` returns the content of a call, and a call may take `seconds`. A group that was answered in part keeps its
    place, and other calls may join it. A group without an answer keeps its place for the rest of the run, even if its
    calls are sent again: it holds one of the six connections that an invocation may have open. When no place is left,
    the run ends, and the task's next run goes on with new connections.
    """

    def __init__(self, caller: ModelCaller, message: Callable[[CallKey], ModelCall], seconds: float) -> None:
        self._caller = caller
        self._message = message
        self._seconds = seconds
        self._out: list[asyncio.Task[GroupAnswer]] = []
        self._parted: list[dict[CallKey, tuple[HeldCall, float]]] = []  # The rests of groups answered in part.
        self._in_parts = 0  # How many groups in `_out` may be answered in parts.
        self._silent = 0
        self._latest: deque[float] = deque(maxlen=_LATEST_CALLS)  # How many seconds each of the latest calls took.
        self._longest = 0.0  # How many seconds the longest call that has ended took.
        self._event: asyncio.Future[bool] | None = None  # The future that the method `wait` awaits now.

    @property
    def groups_out(self) -> int:
        """Return how many groups of calls are in flight.

        A group that did not answer in time counts until the run ends. A group that may be answered in parts counts as
        PARTS_COST groups, because the allowance must suffice for as many.
        """
        return self._taken_places + (PARTS_COST - 1) * (self._in_parts + len(self._parted))

    @property
    def _taken_places(self) -> int:
        return len(self._out) + len(self._parted) + self._silent

    @property
    def free(self) -> int:
        """Return how many more model calls the caller can make now."""
        size = self._caller.group_size
        beside = sum(max(0, size - len(rest)) for rest in self._parted)
        return max(0, self._caller.groups_most - self._taken_places) * size + beside

    def start(self, keys: Sequence[CallKey], starts_by: float, *, in_parts: bool = False) -> int:
        """Send calls in groups. No call of the started group starts after `starts_by`.

        The calls first join groups that were answered in part, and all of these are sent again, even without new calls.
        Groups may be answered `in_parts`. Returns the number of groups. Each group is one subrequest.
        """
        left, size, rests = list(keys), self._caller.group_size, self._parted
        groups: list[tuple[dict[CallKey, tuple[HeldCall, float]], Sequence[CallKey]]] = []
        for rest in rests:
            free = max(0, size - len(rest))
            groups.append((rest, left[:free]))
            del left[:free]
        groups += [({}, group) for group in batched(left, size)]
        self._parted = []
        for rest, group in groups:
            self._in_parts += in_parts
            out = asyncio.create_task(self._call(rest, group, starts_by, in_parts=in_parts))
            out.add_done_callback(self._tell)
            self._out.append(out)
        return len(groups)

    def resume(self, *, in_parts: bool = False) -> int:
        """Wait again for the groups that were answered in part. Returns their number. Each is one subrequest."""
        return self.start((), clock.now(), in_parts=in_parts) if self._parted else 0

    async def beside(self, work: Coroutine[None, None, None]) -> int:
        """Do `work`, which makes no calls, and let no group that was answered in part stand alone for long.

        A lane that no RPC waits for may be evicted, and the paid calls that it goes on with are then lost. If `work`
        takes longer than UNHEARD_SECONDS_MOST, for example because R2 does not answer, the rests of such groups are
        sent again, and are answered as a whole. Returns how many groups were sent. Raises what `work` raises.
        """
        working, sent = asyncio.ensure_future(work), 0
        try:
            await asyncio.wait([working], timeout=limits.UNHEARD_SECONDS_MOST)
            while not working.done():
                self._parted += [dict(rest) for rest in self._rests()]
                for rest in self._rests():
                    rest.clear()
                sent += self.resume()
                calling = [group for group in self._out if not group.done()]
                await asyncio.wait([working, *calling], return_when=asyncio.FIRST_COMPLETED)
        finally:
            working.cancel()
        await working
        return sent

    def _rests(self) -> list[dict[CallKey, tuple[HeldCall, float]]]:
        """Return the rests of groups that were answered in part since the run last took answers."""
        return [rest for group in self._ended() if (rest := group.result().going_on)]

    async def _call(
        self,
        rest: Mapping[CallKey, tuple[HeldCall, float]],
        new: Sequence[CallKey],
        starts_by: float,
        *,
        in_parts: bool,
    ) -> GroupAnswer:
        now = clock.now()
        keys = [*rest, *new]
        started = [*(at for _, at in rest.values()), *([now] * len(new))]
        calls: list[ModelCall | HeldCall] = [*(held for held, _ in rest.values()), *map(self._message, new)]
        try:
            results = await self._caller.call(calls, self._seconds, starts_by, in_parts=in_parts)
        finally:
            self._in_parts -= in_parts
        now, answer = clock.now(), GroupAnswer([], {})
        for key, result, at in zip(keys, results, started, strict=True):
            if isinstance(result, HeldCall):
                answer.going_on[key] = result, at
            else:
                answer.ended.append(EndedCall(key, result, at, now - at))
        return answer

    async def wait(
        self,
        until: float,
        hint: asyncio.Future[None] | None = None,
        *,
        last: bool = False,
        deadline: float = math.inf,
        write_seconds: float = 0.0,
    ) -> list[EndedCall]:
        """Wait until a group ends, `until` has passed, or `hint` is done, and return the calls that have ended.

        Groups that end at nearly the same time are returned together, so that one write records them. The wait for
        further groups ends at `deadline`, and costs nothing if no other call could start now (`last`). The calls are
        sorted by their keys, so that the content of a write does not depend on the order of a set.
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
            if await self._hear(hint, clock.seconds_until(until)):
                break
        began = clock.now()
        while (done := self._ended()) and len(done) < len(self._out) and (hint is None or not hint.done()):
            patient_until = min(began + self._linger_seconds(done, write_seconds, last=last), deadline)
            patience = patient_until - clock.now()
            if patience <= 0:
                break
            if await self._hear(hint, patience) and self._ended() == done:
                break
        return self._taken(done)

    async def _hear(self, hint: asyncio.Future[None] | None, seconds: float) -> bool:
        """Wait until a group ends or the hint is done, for at most `seconds`. Return whether `seconds` are over.

        The timer decides that, because the clock may show slightly less time when the timer fires. Calls that started
        together end one by one, and each end starts a new wait. One shared future costs less than `asyncio.wait`, which
        would add a callback to each group in flight and remove it, for each wait.
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

    def _linger_seconds(
        self, done: Collection[asyncio.Task[GroupAnswer]], write_seconds: float, *, last: bool
    ) -> float:
        """Return for how many seconds ended calls wait for other calls, because one write for several saves writes.

        While ended calls wait, no calls start in their place, so the wait is only a fraction of their duration. Calls
        that take different times wait only until about one more has ended. If a write takes long, `write_seconds`, they
        wait longer, because fewer writes relieve the database. If no call could start anyway, they wait as long as they
        took, unless one of them failed: it may soon be made again.
        """
        finished = _finished(done)
        seconds = max((call.seconds for call in finished), default=0.0)
        is_slow = max(seconds, self._longest) >= limits.QUICK_CALL_SECONDS
        most = limits.LINGER_SECONDS_MOST if is_slow else limits.LINGER_SECONDS_QUICK
        if last and not any(isinstance(call.result, ModelError) for call in finished):
            return min(seconds, most)
        fraction = limits.LINGER_FRACTION
        if _is_uneven(self._latest):
            calls = max(1, len(self._out) * self._caller.group_size)
            fraction = min(fraction, max(limits.LINGER_FRACTION_LEAST, limits.LINGER_CALLS / calls))
        return min(max(fraction * seconds, limits.LINGER_LATENCIES * write_seconds), seconds, most)

    def ended(self) -> list[EndedCall]:
        """Return the calls that have ended by now, without waiting."""
        return self._taken(self._ended())

    async def remaining(self) -> list[EndedCall]:
        """Wait for all groups in flight, and return their calls. A group answered in part cost a subrequest."""
        ended = self.ended()
        while self._out or self._parted:
            self.resume()
            await asyncio.wait(self._out)
            ended += self.ended()
        return sorted(ended, key=attrgetter("key"))

    async def drop(self) -> list[EndedCall]:
        """Cancel the calls in flight, and wait up to DROP_SECONDS_MOST for their end: they may close connections.

        Returns the calls that had already ended and were not recorded yet, because they are paid for.
        """
        dropped, self._out, self._parted = self._out, [], []
        for group in dropped:
            group.cancel()
        if not dropped:
            return []
        ended, _ = await asyncio.wait(dropped, timeout=limits.DROP_SECONDS_MOST)
        # Reading each asyncio task's exception prevents asyncio from reporting it as never retrieved.
        return _finished(group for group in ended if not group.cancelled() and group.exception() is None)

    def _ended(self) -> list[asyncio.Task[GroupAnswer]]:
        return [group for group in self._out if group.done()]

    def _taken(self, done: Collection[asyncio.Task[GroupAnswer]]) -> list[EndedCall]:
        finished = _finished(done)
        self._latest.extend(call.seconds for call in finished)
        self._longest = max([self._longest, *(call.seconds for call in finished)])
        self._silent += sum(any(isinstance(call.result, Silence) for call in group.result().ended) for group in done)
        self._parted += [group.result().going_on for group in done if group.result().going_on]
        self._out = [group for group in self._out if group not in done]
        return finished


def _is_uneven(seconds: Collection[float]) -> bool:
    """Whether the latest calls took clearly different times. A single call that differs does not count."""
    ordered = sorted(seconds)
    return len(ordered) >= _CALLS_TO_JUDGE and ordered[-2] > _UNEVEN_RATIO * ordered[1]


def _finished(groups: Iterable[asyncio.Task[GroupAnswer]]) -> list[EndedCall]:
    return sorted(chain.from_iterable(group.result().ended for group in groups), key=attrgetter("key"))
