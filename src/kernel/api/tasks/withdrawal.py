"""Cancels or erases a task for a client: none of the task's model calls starts after the answer."""

import asyncio
from math import ceil

from ...domain import limits
from ...domain.ids import TaskKey
from ...domain.task import Task
from ..base.problems import DATABASE_UNAVAILABLE, Refusal
from ..base.services import Api
from ..follow.wait import found

_STILL_STARTING = (
    "The task is cancelled. The database is slow, so calls announced earlier may still start for a short "
    "time. Cancel the task again later: the answer then says that none will start."
)


async def ended_by_client(api: Api, key: TaskKey, began: float) -> tuple[bool, Task]:
    """Cancel an unfinished task. Returns when no call of the task can start any more.

    Also returns whether this ended the task. `began` is when the request came, by the loop's clock. Raises Refusal: 404
    without the task, 503 if waiting for announced calls would take too long.
    """
    changed, starting_ms, fence = await api.store.cancel(key, api.settings.retention_ms)
    if changed:
        api.isolate.marks.ended(key)
        api.log("cancelled", task=key)
    # A cancelled task announces no new calls. A model call that was announced before may still start, and the answer
    # promises that none will, so the answer waits.
    held = starting_ms / 1000
    late = asyncio.get_running_loop().time() - began + held > limits.CANCEL_SECONDS_MOST
    await _let_go(api, key, 0.0 if late else held, fence)
    if late:
        raise Refusal(DATABASE_UNAVAILABLE, _STILL_STARTING, headers={"Retry-After": str(ceil(held))})
    return changed, await found(api.store, key)


async def erase_task(api: Api, key: TaskKey) -> bool:
    """Erase a task that existed a moment ago. Returns whether the task still existed."""
    gone, starting_ms, fence = await api.store.erase(key)
    if gone:
        api.isolate.marks.ended(key)
        api.log("erased", task=key)
        await _let_go(api, key, starting_ms / 1000, fence)
    return gone


async def _let_go(api: Api, key: TaskKey, held_seconds: float, object_fence: int | None) -> None:
    """Wait until no announced call can start any more, and tell the object that works on the task of the task's end."""
    told = [] if object_fence is None else [api.tell_object(key, object_fence)]
    await asyncio.gather(asyncio.sleep(held_seconds), *told)
