"""What a lane does: makes groups of calls and says what each gave. It keeps nothing but what it has out."""

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
    """One lane of a task, in one life of its object."""

    def __init__(self) -> None:
        self._aborted = -1  # the highest fence whose calls nobody wants any more
        self._out: dict[asyncio.Task[ModelReply | ModelError], int] = {}  # and the fence of each

    async def infer(self, worker: Worker, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """Make each call and return the outcomes in the calls' order.

        The way here takes a time that nobody knows, and meanwhile the task may have been cancelled: so the database is
        asked whether the claim that announced the calls is still good, and for how long after that they may start.

        No more are in flight than the lane's own `AI_CONCURRENCY` allows: the sender may have another, from before or
        after a deployment. What gets no turn in time is not started, and comes again.
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
        except asyncio.CancelledError:  # the lane itself is being ended: it sees its calls close their connections
            for made in out:
                made.cancel()
            await asyncio.wait(out, timeout=limits.DROP_SECONDS_MOST)
            raise
        finally:
            for made in out:
                del self._out[made]
        return [wire.write_outcome(_outcome(made, begun=place in begun)) for place, made in enumerate(out)]

    def abort(self, fence: int) -> None:
        """End the calls of claims up to this one: their task has ended. Each keeps what it has given by now.

        It may come late, or ahead of calls that it means. A later claim has a higher fence, and its calls go on.
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
    """Answer for a lane that a bad variable keeps from work: no call was started, which costs none of them an attempt.

    The task's own object may be of a deployment before, whose variables were fine.
    """
    log.misconfigured(error, task=task_key)
    return [wire.write_outcome(CallNotStarted("the lane has a bad variable")) for _ in calls]
