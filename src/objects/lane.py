"""What a lane does: makes a group of calls and says what each gave. It keeps nothing."""

import asyncio

from ..core import limits
from ..core.errors import CallNotStarted, ModelError, ModelTimeout, StoreError
from ..core.ids import TaskKey
from ..inference import wire
from ..inference.protocol import ModelReply
from ..inference.wire import Wire
from ..processing.worker import Worker


async def infer_all(worker: Worker, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
    """Make each call and return the outcomes in the calls' order.

    The way here takes a time that nobody knows, and meanwhile the task may have been cancelled: so the database is
    asked whether the claim that announced the calls is still good, and they start soon after that or not at all.

    No more are in flight than the lane's own `AI_CONCURRENCY` allows: the sender may have another, from before or after
    a deployment. What gets no turn in time is not started, and comes again.
    """
    loop = asyncio.get_running_loop()
    seconds = worker.settings.timeout_seconds
    asked_at = loop.time()
    try:
        left_ms = await worker.store.may_start(task_key, fence)
    except StoreError:
        left_ms = None
    starts_by = asked_at if left_ms is None else asked_at + min(limits.START_SECONDS, left_ms / 1000)
    turns = asyncio.Semaphore(worker.settings.concurrency)

    async def one(call: Wire) -> Wire:
        outcome: ModelReply | ModelError
        try:
            async with turns, asyncio.timeout(seconds):
                if loop.time() >= starts_by:
                    raise CallNotStarted("too late to start the call")
                outcome = await worker.provider.infer(wire.read_call(call))
        except TimeoutError:
            outcome = ModelTimeout(f"no reply from the model within {seconds:g} s")
        except ModelError as error:
            outcome = error
        return wire.write_outcome(outcome)

    return list(await asyncio.gather(*(one(call) for call in calls)))
