"""Ends tasks from outside, without their worker: fails tasks, or cancels or erases them for a client."""

from collections.abc import Sequence
from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey
from ..core.states import Status
from ..core.task import DEADLINE_EXCEEDED, Failure
from .d1 import columns
from .d1.database import Row
from .d1.statement import BoundStatement, as_json
from .hooks import HookedStore
from .sql import ending as sql
from .sql.latest_calls import ERASE_CALLS
from .standing import TOMBSTONE_MS, StandingStore

_START_MS_MOST = round(limits.START_SECONDS_MOST * 1000)


class Stopped(NamedTuple):
    """What a cancellation or an erasure did. `changed` says that the request cancelled or erased the task.

    For `starting_ms` more, the task's announced model calls may still start, but no others; 0 means that no call may
    start. `object_fence` is set if a Durable Object worked on the task last and may still work on it: all claims up to
    this fence are over.
    """

    changed: bool
    starting_ms: int
    object_fence: int | None


class EndingStore(StandingStore, HookedStore):
    """Ends tasks from outside, without a claim.

    Some writes must have no effect if they arrive late; they name the fence or the generation that the task had when it
    was read.
    """

    async def dead_letter(self, task_key: TaskKey, failure: Failure, retention_ms: int) -> bool:
        """Fail a task that no worker has, because its queue message reached the dead-letter queue.

        Returns False if a worker has the task, if the task is not due yet, or if it has ended.
        """
        now = await self._standing(task_key)
        if now is None:
            return False
        (changed,) = await self._end(
            [task_key],
            sql.DEAD_LETTER.bind(
                task_key=task_key,
                fence=now.fence,
                code=failure.code,
                message=failure.message,
                retention_ms=retention_ms,
            ),
        )
        return bool(changed)

    async def give_up(
        self, task_keys: Sequence[TaskKey], stalls: int, failure: Failure, retention_ms: int
    ) -> list[TaskKey]:
        """Fail those of the given tasks that have no worker and on which at least `stalls` workers died in a row."""
        (ended,) = await self._end(
            task_keys,
            sql.GIVE_UP.bind(
                task_keys=as_json(task_keys),
                stalls=stalls,
                code=failure.code,
                message=failure.message,
                retention_ms=retention_ms,
            ),
        )
        return [columns.task_key(row) for row in ended]

    async def expire(self, task_keys: Sequence[TaskKey], overdue: Failure, retention_ms: int) -> list[TaskKey]:
        """Fail those of the given tasks whose deadline has passed."""
        (ended,) = await self._end(task_keys, expiry(task_keys, overdue, retention_ms))
        return [columns.task_key(row) for row in ended]

    async def cancel(self, task_key: TaskKey, retention_ms: int) -> Stopped:
        """Cancel a task that has not ended."""
        now = await self._standing(task_key)
        if now is None:
            return Stopped(False, 0, None)
        changed, starting = await self._end(
            [task_key],
            sql.CANCEL.bind(task_key=task_key, generation=now.generation, retention_ms=retention_ms),
            _start_window(task_key),
        )
        stopped = _stopped(bool(changed), starting)
        # If a client retried the task just after it was cancelled, the task continues, perhaps under another claim.
        is_over = starting and columns.text(starting[0], "status") == Status.CANCELLED
        return stopped if is_over else stopped._replace(object_fence=None)

    async def erase(self, task_key: TaskKey) -> Stopped:
        """Erase a task, which the caller has just read, with all its parts.

        If the write had to be sent again and the second send finds no task, the task counts as erased, and its calls
        count as just announced.
        """
        *parts, whole = (part.bind(task_key=task_key) for part in sql.ERASE)
        # The task's parts are deleted first, because in a full database the tombstone needs the space that the deletion
        # frees.
        starting, *_, gone, _ = await self._database.run(
            _start_window(task_key),
            *parts,
            sql.BURY.bind(task_key=task_key, tombstone_ms=TOMBSTONE_MS),
            sql.ERASE_COUNT.bind(task_key=task_key),
            sql.ERASE_COUNT_OPEN.bind(task_key=task_key),
            whole,
            ERASE_CALLS.bind(task_key=task_key),
        )
        if not gone and self._database.sends > 1:
            return Stopped(True, _START_MS_MOST, None)
        return _stopped(bool(gone), starting)


def expiry(task_keys: Sequence[TaskKey], overdue: Failure, retention_ms: int) -> BoundStatement:
    """Return the statement that fails those of the given tasks whose deadline has passed."""
    assert overdue.code == DEADLINE_EXCEEDED
    return sql.EXPIRE.bind(task_keys=as_json(task_keys), message=overdue.message, retention_ms=retention_ms)


def _start_window(task_key: TaskKey) -> BoundStatement:
    return sql.START_WINDOW.bind(task_key=task_key, lanes_from_chunks=limits.LANES_FROM_CHUNKS)


def _stopped(changed: bool, found: Sequence[Row]) -> Stopped:
    if not found:
        return Stopped(changed, 0, None)
    fence = columns.whole(found[0], "fence") if columns.whole(found[0], "on_object") else None
    return Stopped(changed, max(0, columns.whole(found[0], "left_ms")), fence)
