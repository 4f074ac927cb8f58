"""Lanes make a long task's calls, more than six at once: a group is an RPC to the `BatchCoordinator`.

`Lanes` makes hosts whose tasks may have lanes, and closes the tasks' coordinators.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import count

from ..kernel.calls import clock, wire
from ..kernel.calls.caller import CallOutcome, HeldCall, ModelCaller, Silence, call_model
from ..kernel.calls.protocol import ModelCall, ModelReply, Provider
from ..kernel.domain import limits
from ..kernel.domain.errors import CallAborted, CallerLost, CallNotStarted, ModelError
from ..kernel.domain.ids import TaskKey
from ..kernel.domain.meter import Meter
from ..kernel.domain.task import Kind, Route
from ..kernel.run.allowance import slice_seconds
from ..kernel.run.log import Log
from ..kernel.store.claims import Claim
from ..kernel.work.worker import Host, Worker
from .stubs import LINES_KNOWN, Coordinators, CoordinatorStub


class LanedCaller:
    """Implements `ModelCaller` with at most `lanes` lanes. Each lane makes at most `group_size` calls at a time.

    It calls the coordinator's `reach` before the first group, and after each lost group, because a group that is lost
    costs each of its calls an attempt. If `reach` fails, or if the calls are lines of a batch and the coordinator's
    code knows none, the worker makes the calls itself for the rest of its run, at most `group_size` at a time.
    """

    def __init__(
        self,
        coordinator: CoordinatorStub,
        claim: Claim,
        provider: Provider,
        meter: Meter,
        *,
        lanes: int,
        group_size: int,
        log: Log,
    ) -> None:
        self.slack_seconds = limits.LANE_SLACK_SECONDS
        self._lanes = lanes
        self._lane_calls = group_size
        self._coordinator = coordinator
        self._claim = claim
        self._provider = provider
        self._meter = meter
        self._log = log
        self._alone = False
        self._reached: asyncio.Task[bool] | None = None
        self._asked: set[asyncio.Task[Sequence[CallOutcome | HeldCall]]] = set()
        self._numbers = count()
        # A dict keeps the order in which the calls were made; a set's differs from run to run.
        self._own: dict[asyncio.Task[ModelReply | ModelError], None] = {}

    @property
    def groups_most(self) -> int:
        """See `ModelCaller`: the number of lanes, or of calls that the worker itself makes at once."""
        return self._lane_calls if self._alone else self._lanes

    @property
    def group_size(self) -> int:
        """See `ModelCaller.group_size`."""
        return 1 if self._alone else self._lane_calls

    async def call(
        self, calls: Sequence[ModelCall | HeldCall], seconds: float, starts_by: float, *, in_parts: bool = False
    ) -> Sequence[CallOutcome | HeldCall]:
        """See `ModelCaller.call`. A lane itself asks the database until when its calls may start.

        An RPC cannot be cancelled: one without an answer in time is left alone, and `abort` ends unwanted calls. On a
        slow database calls may start later than usual, and the group may answer later by the same time.
        """
        began = clock.now()
        if not self._alone and not await self._reaches():
            self._alone = True
        if self._alone:
            # a group of several calls was made for a lane, and a worker without lanes makes groups of one call only
            if len(calls) == 1 and isinstance(calls[0], ModelCall):
                return [await self._make(calls[0], seconds, starts_by)]
            return [_unreachable(call) for call in calls]
        seconds += min(max(limits.START_SECONDS, starts_by - began), limits.START_SECONDS_MOST) - limits.START_SECONDS
        seconds -= clock.now() - began  # reaching the lane took a part of the group's time
        asked = asyncio.create_task(self._ask(calls, seconds, in_parts=in_parts))
        self._asked.add(asked)  # the event loop itself keeps only a weak reference to the asyncio task
        asked.add_done_callback(self._asked.discard)
        answered, _ = await asyncio.wait([asked], timeout=seconds + self.slack_seconds)
        # the lane itself reports calls that timed out, so its silence does not mean that a call timed out
        if not answered:
            return [Silence("the lane gave no answer")] * len(calls)
        return asked.result()

    async def abort(self) -> None:
        """See `ModelCaller.abort`. The coordinator asks the busy lanes to end their calls."""
        claim = self._claim
        for made in self._own:
            made.cancel()
        if self._alone and not self._asked:
            return
        try:
            async with asyncio.timeout(limits.TELL_SECONDS + limits.LANE_SLACK_SECONDS):
                await self._coordinator.abort(claim.task_key, claim.fence)
        except Exception as error:  # noqa: BLE001 - RPC raises any type; the lanes then finish their calls
            self._log("abort_failed", task=claim.task_key, error=type(error).__name__)

    async def _reaches(self) -> bool:
        """Whether the coordinator was reached since the last lost group. Several groups share one call of `reach`."""
        if self._reached is None:
            self._reached = asyncio.create_task(self._reach())
        return await asyncio.shield(self._reached)

    async def _reach(self) -> bool:
        self._meter.spend()
        try:
            async with asyncio.timeout(self.slack_seconds):
                known = await self._coordinator.reach()
        except Exception as error:  # noqa: BLE001 - RPC raises any type; the worker then makes the calls
            self._log("lanes_unreachable", task=self._claim.task_key, error=type(error).__name__)
            return False
        if self._claim.kind is Kind.BATCH and not (isinstance(known, int | float) and known >= LINES_KNOWN):
            self._log("lanes_of_earlier_release", task=self._claim.task_key)
            return False
        return True

    async def _ask(
        self, calls: Sequence[ModelCall | HeldCall], seconds: float, *, in_parts: bool
    ) -> Sequence[CallOutcome | HeldCall]:
        claim = self._claim
        numbers = [call.number if isinstance(call, HeldCall) else next(self._numbers) for call in calls]
        sent = [
            wire.write_held(call.lane, number, in_parts=in_parts)
            if isinstance(call, HeldCall)
            else wire.numbered(wire.write_call(call), number, in_parts=in_parts)
            for call, number in zip(calls, numbers, strict=True)
        ]
        try:
            answers = await self._coordinator.infer(claim.task_key, claim.fence, self._lanes, sent, seconds)
            return [_outcome(answer, number) for answer, number in zip(answers, numbers, strict=True)]
        except Exception as error:  # noqa: BLE001 - RPC raises any type; whether the lane worked is unknown
            self._reached = None
            self._log("lane_lost", task=claim.task_key, calls=len(calls), error=type(error).__name__)
            return [CallerLost("the lane that made the call was lost")] * len(calls)

    async def _make(self, call: ModelCall, seconds: float, starts_by: float) -> CallOutcome:
        """Make a call in the worker itself, without a lane. A cancellation or `abort` cancels it."""
        made = asyncio.create_task(call_model(self._provider, call, seconds, starts_by))
        self._own[made] = None
        try:
            await asyncio.wait([made])
        except asyncio.CancelledError:
            made.cancel()
            await asyncio.wait([made], timeout=limits.DROP_SECONDS_MOST)
            raise
        finally:
            del self._own[made]
        if made.cancelled():
            return CallAborted("the task has ended, and the call's connection was closed")
        return made.result()


def _outcome(answer: wire.Wire, number: int) -> CallOutcome | HeldCall:
    lane = wire.goes_on(answer)
    return wire.read_outcome(answer) if lane is None else HeldCall(lane, number)


def _unreachable(call: ModelCall | HeldCall) -> CallOutcome:
    if isinstance(call, HeldCall):
        return CallerLost("the lane that makes the call cannot be reached")
    return CallNotStarted("no lane can be reached")


def lanes_for(chunks: int) -> int:
    """Return how many lanes a task with `chunks` chunks gets; with 1 lane, the task's worker makes the calls itself."""
    return max(1, min(limits.LANES_MOST, chunks // limits.LANE_CHUNKS))


def laned_caller(worker: Worker, coordinators: Coordinators, claim: Claim) -> LanedCaller | None:
    """Make the caller of a task's lanes; return None if the task needs no lanes or its last worker has just died.

    With an `AI_CONCURRENCY` of 1 even a long task makes only one call at a time, so that it needs none.
    """
    lanes = lanes_for(claim.total)
    group_size = min(limits.LANE_CALLS, worker.settings.concurrency)
    if lanes == 1 or group_size == 1 or claim.stalls:
        return None
    coordinator = coordinators.getByName(claim.task_key)
    return LanedCaller(
        coordinator, claim, worker.provider, worker.meter, lanes=lanes, group_size=group_size, log=worker.log
    )


class Lanes:
    """The lanes of one host's tasks: none if `coordinators` is None, without objects."""

    def __init__(self, coordinators: Coordinators | None, log: Log) -> None:
        self._coordinators = coordinators
        self._log = log
        self._fences: dict[TaskKey, int] = {}  # for each task with lanes, the fence of the task's last claim

    def host(self, worker: Worker, route: Route, seconds: float, wall_seconds: float) -> Host:
        """Make a host that starts calls for at most `seconds`, and that the platform ends after `wall_seconds`."""
        slack = late = 0.0
        if self._coordinators is not None:
            slack = limits.LANE_SLACK_SECONDS
            # A lane may start calls as long as the database allows it, even after the end of the host's slice.
            late = slack + limits.START_SECONDS_MOST - limits.START_SECONDS
        return Host(
            route,
            slice_seconds(worker.settings, seconds, wall_seconds, late),
            caller_for=partial(self._caller_for, worker),
            slack_seconds=slack,
        )

    def _caller_for(self, worker: Worker, claim: Claim) -> ModelCaller | None:
        caller = None if self._coordinators is None else laned_caller(worker, self._coordinators, claim)
        if caller is not None:
            self._fences[claim.task_key] = claim.fence
        return caller

    async def close(self, task_key: TaskKey, meter: Meter) -> None:
        """Tell the task's coordinator that this host has finished. If that fails, its alarm cleans up."""
        fence = self._fences.pop(task_key, None)
        if fence is None or self._coordinators is None:
            return
        meter.spend()
        try:
            async with asyncio.timeout(limits.TELL_SECONDS):
                await self._coordinators.getByName(task_key).close(fence)
        except Exception as error:  # noqa: BLE001 - RPC raises any type
            self._log("close_failed", task=task_key, error=type(error).__name__)
