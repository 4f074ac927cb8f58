"""A lane: a Durable Object that makes groups of model calls for a long task, and knows only its calls in flight."""

import asyncio
import math
from collections.abc import Sequence

from ..kernel.calls import clock, wire
from ..kernel.calls.caller import CallOutcome, call_model
from ..kernel.calls.protocol import ModelReply
from ..kernel.calls.wire import Wire
from ..kernel.domain import limits
from ..kernel.domain.errors import CallAborted, CallerLost, CallNotStarted, ConfigurationError, ModelError, StoreError
from ..kernel.domain.ids import TaskKey
from ..kernel.run.log import Log
from ..kernel.work.worker import Worker


class Lane:
    """One lane of a task, in one instance of the lane's Durable Object."""

    def __init__(self) -> None:
        self._aborted = -1  # The highest fence of the claims whose calls were aborted.
        self._out: dict[asyncio.Task[ModelReply | ModelError], int] = {}  # The calls in flight, and their fences.
        # The calls whose outcomes the sender awaits after an answer in parts, by fence and number.
        self._held: dict[tuple[int, int], asyncio.Task[ModelReply | ModelError]] = {}
        # Until when the lane need not ask the database again, and until when calls may start, for the fence of a claim.
        self._allowed = -1, -math.inf, -math.inf
        self._begun: set[asyncio.Task[ModelReply | ModelError]] = set()  # The calls that have had their turn.
        self._starts: tuple[int, asyncio.Semaphore] | None = None  # of the claim whose calls the lane makes, its fence

    async def infer(self, worker: Worker, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """Make a group of calls, and return their outcomes in the calls' order.

        The group may take long to reach the lane. So the lane first asks the database whether the claim is still valid,
        and for how long its calls may still start.

        The lane makes at most its own `AI_CONCURRENCY` calls at a time; the sender's may differ during a deployment. A
        call that gets no turn in time is not started, and the sender sends it again.

        If the sender takes answers in parts, the lane returns soon after the first call has ended. The sender awaits
        the others by a further group. Until then no RPC is pending, and an eviction of the lane may lose them.
        """
        group = await self._group(worker, task_key, fence, calls)
        out = [made for made in group if made is not None]
        in_parts = any(wire.goes_in_parts(call) for call in calls)
        try:
            if in_parts and None not in group:  # the sender learns at once that a call is lost
                await _first_ended(out)
            elif not in_parts:
                await asyncio.wait(out)
        except asyncio.CancelledError:  # the lane itself is ending: wait until its calls' connections are closed
            for made in out:
                made.cancel()
            await asyncio.wait(out, timeout=limits.DROP_SECONDS_MOST)
            raise
        return [self._answer(fence, call, made) for call, made in zip(calls, group, strict=True)]

    async def _group(
        self, worker: Worker, task_key: TaskKey, fence: int, calls: list[Wire]
    ) -> list[asyncio.Task[ModelReply | ModelError] | None]:
        """Start the new calls of a group, and find those that go on: None stands for one that the lane has lost."""
        starts_by = -math.inf
        if any(not wire.is_held(call) for call in calls):
            starts_by = await self._starts_by(worker, task_key, fence)
        starts = self._starts_of(worker, fence)

        async def started(call: Wire) -> CallOutcome:
            async with starts:
                made = asyncio.current_task()
                assert made is not None
                self._begun.add(made)
                named = wire.read_call(call, task_key)
                return await call_model(worker.provider, named, worker.settings.timeout_seconds, starts_by)

        group: list[asyncio.Task[ModelReply | ModelError] | None] = []
        for call in calls:
            if wire.is_held(call):
                group.append(self._held.pop((fence, wire.number_of(call) or 0), None))
                continue
            made = asyncio.create_task(started(call))
            self._out[made] = fence
            made.add_done_callback(self._ended)
            group.append(made)
        return group

    async def _starts_by(self, worker: Worker, task_key: TaskKey, fence: int) -> float:
        """Return until when the claim's calls may start.

        In the first half of the time that the database last allowed, the lane does not ask again: a cancellation holds
        its answer until this time is over, and a later announcement only moves its end.
        """
        asked_at, of, asked_until, starts_by = clock.now(), *self._allowed
        if of != fence or asked_at >= asked_until:
            try:
                left_ms = await worker.store.may_start(task_key, fence)
            except StoreError:
                left_ms = None
            starts_by = asked_at + (left_ms or 0) / 1000
            self._allowed = fence, (asked_at + starts_by) / 2, starts_by
        return asked_at if fence <= self._aborted else starts_by

    def _starts_of(self, worker: Worker, fence: int) -> asyncio.Semaphore:
        """Return what bounds the calls in flight of a claim, for all of its groups."""
        if self._starts is None or self._starts[0] != fence:
            # The held calls of another claim are awaited no longer.
            self._held = {key: made for key, made in self._held.items() if key[0] == fence}
            self._begun &= self._out.keys()
            self._starts = fence, asyncio.Semaphore(worker.settings.concurrency)
        return self._starts[1]

    def _ended(self, made: asyncio.Task[ModelReply | ModelError]) -> None:
        del self._out[made]

    def _answer(self, fence: int, call: Wire, made: asyncio.Task[ModelReply | ModelError] | None) -> Wire:
        if made is None:
            return wire.write_outcome(CallerLost("the lane has lost the call"))
        if not made.done():
            number = wire.number_of(call)
            assert number is not None  # a group without numbers is answered when all of its calls have ended
            self._held[(fence, number)] = made
            return wire.GOES_ON
        begun = made in self._begun
        self._begun.discard(made)
        if not made.cancelled():
            return wire.write_outcome(made.result())
        if begun:
            return wire.write_outcome(CallAborted("the task has ended, and the call's connection was closed"))
        return wire.write_outcome(CallNotStarted("the task has ended"))

    def abort(self, fence: int) -> None:
        """Cancel the calls of all claims up to `fence`, because the task has ended. Finished calls keep their outcomes.

        Calls that arrive after it do not start. The calls of a later claim have a higher fence, and continue.
        """
        self._aborted = max(self._aborted, fence)
        for made, of in self._out.items():
            if of <= self._aborted:
                made.cancel()


async def _first_ended(out: Sequence[asyncio.Task[ModelReply | ModelError]]) -> None:
    """Wait until a call has ended, and a little longer for calls that end with it, so that they share an answer."""
    began = clock.now()
    _, pending = await asyncio.wait(out, return_when=asyncio.FIRST_COMPLETED)
    if pending:
        linger = min(limits.LINGER_SECONDS_MOST, limits.LANE_LINGER_FRACTION * (clock.now() - began))
        await asyncio.wait(pending, timeout=linger)


def infer_none(error: ConfigurationError, task_key: TaskKey, calls: list[Wire], log: Log) -> list[Wire]:
    """Answer for a lane with a bad variable: no call was started, and none loses an attempt."""
    log.misconfigured(error, task=task_key)
    return [wire.write_outcome(CallNotStarted("the lane has a bad variable")) for _ in calls]
