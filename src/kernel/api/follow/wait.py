"""Reads a task for a request with `?wait=`: when the task has ended, or when the wait is over."""

import asyncio
import math
from collections.abc import Sequence

from ...domain import limits
from ...domain.errors import StoreError
from ...domain.ids import TaskKey
from ...domain.marks import Pulse
from ...domain.task import Task
from ...run.waits import OVERDUE
from ...store.tasks import TaskStore
from ..base.problems import no_task
from ..base.services import Api
from .listening import Listener, poll_seconds, reads_left, sparing_seconds

_NO_TIME_SECONDS = 0.001  # a wait with less than a millisecond left counts as over


async def found(store: TaskStore, task_key: TaskKey) -> Task:
    """Read a task. Raises Refusal (404)."""
    task = await store.task(task_key)
    if task is None:
        raise no_task()
    return task


async def current(api: Api, key: TaskKey, seconds: float = 0.0, *, reads_after: int = 0) -> Task | None:
    """Read a task when it has ended, or after `seconds`.

    During the wait only the task's status is read, rarely if a host can notify the request of the end. On the free plan
    each read reads the whole task, which saves a read after the status has changed.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    task = await _up_to_date(api, key)
    took = loop.time() - began
    if task is not None and (task.late or task.unanswered):
        try:
            await api.rescue.help(task, seconds - (loop.time() - began))
        except StoreError as error:  # the task was read, so the client sees it even if helping it failed
            api.log("help_failed", task=key, code=error.code)
        else:
            task = await _up_to_date(api, key)
    return await _ended(api, task, seconds, began, took, reads_after) if task is not None and seconds > 0 else task


async def _ended(api: Api, task: Task, seconds: float, began: float, took: float, reads_after: int) -> Task | None:
    """Wait for a task's end, at most `seconds` after `began`, and read it. `took` is the read's seconds."""
    clock, key, free = asyncio.get_running_loop().time, task.task_key, api.settings.plan == "free"
    found: Task | None = task
    listener, seen, reads, ends_at = Listener(api, key), pulse_of(task), reads_left(task, reads_after), began + seconds
    while found is not None and not found.status.terminal and (left := ends_at - clock()) > _NO_TIME_SECONDS:
        pause = sparing_seconds(left, reads) if free else poll_seconds(seconds - left, took)
        # If less than WAIT_POLL_SECONDS would be left after the pause, it lasts until the wait's end.
        short = left if left < pause + limits.WAIT_POLL_SECONDS else pause
        is_near_end = left < limits.WAIT_TOLD_SECONDS + limits.WAIT_POLL_SECONDS
        told = await listener.rest(seen, short, left if free or is_near_end else limits.WAIT_TOLD_SECONDS, math.inf)
        reads -= 1
        asked_at = clock()
        is_over = ends_at - asked_at <= _NO_TIME_SECONDS
        if not (free or told or is_over) and (pulse := await api.store.going_on(key)) is not None:
            seen, took = pulse, clock() - asked_at
            continue
        found = await _up_to_date(api, key)
        if found is None or (free and reads < 1):
            break
        seen = pulse_of(found)
    return found


def pulse_of(task: Task) -> Pulse:
    """Return how far a task had progressed when it was read, as a `Pulse`."""
    return Pulse(task.mark, task.status, task.route)


async def _up_to_date(api: Api, key: TaskKey) -> Task | None:
    """Read a task. If the task's deadline has passed, fail the task and read it again."""
    task = await api.store.task(key)
    if task is None or not task.overdue or not await expired(api, [key]):
        return task
    return await api.store.task(key)


async def expired(api: Api, overdue: Sequence[TaskKey]) -> bool:
    """Fail tasks past their deadline. False: the database took no write, and the sweep will fail them."""
    try:
        await api.store.expire(overdue, OVERDUE, api.settings.retention_ms)
    except StoreError as error:
        api.log("expiry_failed", tasks=len(overdue), code=error.code)
        return False
    return True
