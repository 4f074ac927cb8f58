"""A lane: a Durable Object that makes groups of model calls for a long task, and knows only its calls in flight."""

import asyncio

from ..core import limits
from ..core.errors import CallAborted, CallNotStarted, ConfigurationError, ModelError, StoreError
from ..core.ids import TaskKey
from ..inference import wire
from ..inference.protocol import ModelReply
from ..inference.wire import Wire
from ..processing import clock
from ..processing.caller import CallOutcome, call_model
from ..processing.log import Log
from ..processing.worker import Worker


class Lane:
    """One lane of a task, in one instance of the lane's Durable Object."""

    def __init__(self) -> None:
        self._aborted = -1  # The highest fence of all claims whose calls were aborted.
        # The calls in flight, each with its claim's fence.
        self._out: dict[asyncio.Task[ModelReply | ModelError], int] = {}

    async def infer(self, worker: Worker, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """Make a group of calls, and return their outcomes in the calls' order.

        The group may take long to reach the lane, and the task may be cancelled in the meantime. The lane first asks
        the database whether the claim is still valid, and for how long calls of the claim may still start.

        The lane makes at most its own `AI_CONCURRENCY` calls at a time. The sender's `AI_CONCURRENCY` may differ from
        the lane's during a deployment. A call that gets no turn in time is not started, and the sender sends the call
        again.
        """
        asked_at = clock.now()
        try:
            left_ms = await worker.store.may_start(task_key, fence)
        except StoreError:
            left_ms = None
        starts_by = asked_at if left_ms is None or fence <= self._aborted else asked_at + left_ms / 1000
        turns = asyncio.Semaphore(worker.settings.concurrency)
        begun: set[int] = set()

        async def in_turn(place: int, call: Wire) -> CallOutcome:
            async with turns:
                begun.add(place)
                return await call_model(
                    worker.provider, wire.read_call(call), worker.settings.timeout_seconds, starts_by
                )

        out = [asyncio.create_task(in_turn(place, call)) for place, call in enumerate(calls)]
        self._out |= dict.fromkeys(out, fence)
        try:
            await asyncio.wait(out)
        # the lane itself is ending, so it waits until the connections of its calls are closed
        except asyncio.CancelledError:
            for made in out:
                made.cancel()
            await asyncio.wait(out, timeout=limits.DROP_SECONDS_MOST)
            raise
        finally:
            for made in out:
                del self._out[made]
        return [wire.write_outcome(_outcome(made, begun=place in begun)) for place, made in enumerate(out)]

    def abort(self, fence: int) -> None:
        """Cancel the calls of all claims up to `fence`, because the task has ended. Finished calls keep their outcomes.

        The request to abort may arrive late, or before the calls that it is about; in the second case those calls do
        not start. The calls of a later claim have a higher fence, and continue.
        """
        self._aborted = max(self._aborted, fence)
        for made, of in self._out.items():
            if of <= self._aborted:
                made.cancel()


def _outcome(made: asyncio.Task[ModelReply | ModelError], *, begun: bool) -> CallOutcome:
    if not made.cancelled():
        return made.result()
    if begun:
        return CallAborted("the task has ended, and the call's connection was closed")
    return CallNotStarted("the task has ended")


def infer_none(error: ConfigurationError, task_key: TaskKey, calls: list[Wire], log: Log) -> list[Wire]:
    """Answer for a lane whose deployment has a bad variable: no call was started, so no call loses an attempt.

    The sender of the calls may run in an earlier deployment, whose variables are valid.
    """
    log.misconfigured(error, task=task_key)
    return [wire.write_outcome(CallNotStarted("the lane has a bad variable")) for _ in calls]
