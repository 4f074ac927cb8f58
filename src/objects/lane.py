"""What a lane does: makes a group of calls and says what each gave. It keeps nothing."""

import asyncio

from ..core.errors import CallNotStarted, ConfigurationError, StoreError
from ..core.ids import TaskKey
from ..inference import wire
from ..inference.wire import Wire
from ..processing import clock
from ..processing.caller import call_model
from ..processing.log import Log
from ..processing.worker import Worker


async def infer_all(worker: Worker, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
    """Make each call and return the outcomes in the calls' order.

    The way here takes a time that nobody knows, and meanwhile the task may have been cancelled: so the database is
    asked whether the claim that announced the calls is still good, and for how long after that they may start.

    No more are in flight than the lane's own `AI_CONCURRENCY` allows: the sender may have another, from before or after
    a deployment. What gets no turn in time is not started, and comes again.
    """
    asked_at = clock.now()
    try:
        left_ms = await worker.store.may_start(task_key, fence)
    except StoreError:
        left_ms = None
    starts_by = asked_at if left_ms is None else asked_at + left_ms / 1000
    turns = asyncio.Semaphore(worker.settings.concurrency)

    async def in_turn(call: Wire) -> Wire:
        async with turns:
            outcome = await call_model(
                worker.provider, wire.read_call(call), worker.settings.timeout_seconds, starts_by
            )
        return wire.write_outcome(outcome)

    return list(await asyncio.gather(*map(in_turn, calls)))


def infer_none(error: ConfigurationError, task_key: TaskKey, calls: list[Wire], log: Log) -> list[Wire]:
    """Answer for a lane that a bad variable keeps from work: no call was started, which costs none of them an attempt.

    The task's own object may be of a deployment before, whose variables were fine.
    """
    log.misconfigured(error, task=task_key)
    return [wire.write_outcome(CallNotStarted("the lane has a bad variable")) for _ in calls]
