"""Ends tasks from outside, without a worker. Such a write names the state, so a late one changes nothing."""

from collections.abc import Sequence
from typing import NamedTuple

from ..domain import limits
from ..domain.ids import TaskKey
from ..domain.task import DEADLINE_EXCEEDED, Failure, Status
from . import d1, views
from .d1 import BoundStatement, Row, Store, as_json, statement
from .fragments import ABANDONED, ENDED, IN_DOUBT, KNOWN_KIND, LISTED, NOW, STALLS, delete_parts, failed
from .hooks import HookedStore
from .latest_calls import ERASE_CALLS
from .tallies import count_erased

# --- Failures from outside -------------------------------------------------------------------------------

# Fails a task whose message reached the dead-letter queue, unless a worker holds the task, or the task is not due yet
# or has ended. DEAD_LETTER names the fence that the task had when it was read, so that DEAD_LETTER changes nothing
# after another claim or a retry. Structured tasks and batches are left to the sweep, because their message may have
# failed only because an older release of the code cannot claim the task.
DEAD_LETTER = statement(f"""
UPDATE tasks SET fence = fence + 1, {IN_DOUBT}, {failed(retryable="1")}
WHERE id = :task_key AND fence = :fence AND structured IS NULL AND kind IS NULL AND max_cost IS NULL
  AND ((status = 'pending' AND not_before <= {NOW}) OR ({ABANDONED}))
RETURNING fence
""")

# Fails those of the given tasks on which at least `:stalls` workers in a row died without a finished call, once the
# tasks have rested. GIVE_UP fails such tasks without another claim.
GIVE_UP = statement(f"""
UPDATE tasks SET fence = fence + 1, {IN_DOUBT}, {failed(retryable="1")}
WHERE {LISTED} AND {ABANDONED} AND {STALLS} >= :stalls AND {KNOWN_KIND}
RETURNING id
""")

# Fails those of the given tasks whose deadline has passed. As with CANCEL, the task's fence does not change, and only
# the new status stops the task's worker.
EXPIRE = statement(f"""
UPDATE tasks SET {failed(code=f"'{DEADLINE_EXCEEDED}'", retryable="1")}
WHERE {LISTED} AND status IN ('pending', 'processing') AND deadline_at <= {NOW} AND {KNOWN_KIND}
RETURNING id
""")

# --- At the client's wish --------------------------------------------------------------------------------

# Cancels an unfinished task. The task's fence does not change, so that the task's worker can still settle the bill.
# Only the status stops the worker: each announcement of calls requires the status 'processing'. CANCEL names the
# generation that the task had when it was read, so that CANCEL changes nothing if it arrives after a retry.
CANCEL = statement(f"""
UPDATE tasks SET status = 'cancelled', {ENDED}
WHERE id = :task_key AND generation = :generation AND status IN ('pending', 'processing')
RETURNING status
""")

# An expression: for how many ms announced calls of a task may still start; see START_WINDOW.
START_LEFT = f"""min(start_ms, start_ms - {NOW} + max(coalesce(announced_at, 0),
  CASE WHEN started_at IS NOT NULL AND (route <> 'direct' OR fence > 1) AND total >= :lanes_from_chunks
    THEN coalesce(finished_at, {NOW}) ELSE 0 END
))"""

# A condition: a Durable Object worked on the task last.
ON_OBJECT = "route = 'durable-object' AND started_at IS NOT NULL"

# Says for how many ms calls may still start for a task that was just cancelled, or is about to be erased. Calls may
# start within `start_ms` after they were announced.
#
# Only a task with at least `:lanes_from_chunks` chunks may have lanes. A task that may have lanes counts as having
# announced calls just now, because a lane may just have asked whether it may start the calls. The direct route has no
# lanes, but a task that was claimed several times may have been on another route before. If a task's only worker has
# ended the task, no call can start. If the task's only worker released the task because of an error, the worker may
# have left lanes that still work. If a task had several workers, an earlier worker may be suspended just before it
# starts calls that it announced, whatever has happened to the task since. The time for which calls may still start is
# at most `start_ms`, in case the clock jumped back.
#
# START_WINDOW also reads the task's status, and whether a Durable Object worked on the task last.
START_WINDOW = statement(f"""
SELECT {START_LEFT} AS left_ms, status, fence, {ON_OBJECT} AS on_object
FROM tasks WHERE id = :task_key AND (status IN ('pending', 'processing', 'cancelled') OR attempts > 1)
""")

# Leaves a tombstone of an erased task for `:tombstone_ms`, so that a submission that arrives late does not write the
# task again. BURY must run before the last statement of ERASE.
BURY = statement(f"""
INSERT INTO tombstones (id, until) SELECT :task_key, {NOW} + :tombstone_ms
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key)
ON CONFLICT DO NOTHING
""")

# Adds the end of a task that is erased to the sums over ended tasks, unless that was done before. An unfinished task
# that is erased counts as ending now. Both statements must run before the last statement of ERASE.
ERASE_COUNT, ERASE_COUNT_OPEN = count_erased("id = :task_key")

# Erases everything that is stored about a task. If ERASE is sent twice, the second send erases nothing.
ERASE = (*delete_parts("=", ":task_key"), statement("DELETE FROM tasks WHERE id = :task_key RETURNING id"))


TOMBSTONE_MS = round(limits.LATE_SECONDS_MOST * 1000)
_START_MS_MOST = round(limits.START_SECONDS_MOST * 1000)


class Moment(NamedTuple):
    """A state of a task: how often it had been claimed by then (`fence`) and retried by its client (`generation`)."""

    fence: int
    generation: int


class StandingStore(Store):
    """The base class of stores that write to a task without having a claim."""

    async def _standing(self, task_key: TaskKey) -> Moment | None:
        """Read the task's fence and generation, None without the task."""
        (found,) = await self._database.run(views.STATUS.bind(task_key=task_key))
        return Moment(d1.whole(found[0], "fence"), d1.whole(found[0], "generation")) if found else None


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
    """Ends tasks from outside. Writes that must not land late name the fence or generation that was read."""

    async def dead_letter(self, task_key: TaskKey, failure: Failure, retention_ms: int) -> bool:
        """Fail a task whose message is a dead letter; False if it has a worker, is not due, or has ended."""
        now = await self._standing(task_key)
        if now is None:
            return False
        ending = DEAD_LETTER.bind(
            task_key=task_key, fence=now.fence, code=failure.code, message=failure.message, retention_ms=retention_ms
        )
        (changed,) = await self._end([task_key], ending)
        return bool(changed)

    async def give_up(
        self, task_keys: Sequence[TaskKey], stalls: int, failure: Failure, retention_ms: int
    ) -> list[TaskKey]:
        """Fail those of the given tasks that have no worker and on which at least `stalls` workers died in a row."""
        names = as_json(task_keys)
        ending = GIVE_UP.bind(
            task_keys=names, stalls=stalls, code=failure.code, message=failure.message, retention_ms=retention_ms
        )
        (ended,) = await self._end(task_keys, ending)
        return [d1.task_key(row) for row in ended]

    async def expire(self, task_keys: Sequence[TaskKey], overdue: Failure, retention_ms: int) -> list[TaskKey]:
        """Fail those of the given tasks whose deadline has passed."""
        (ended,) = await self._end(task_keys, expiry(task_keys, overdue, retention_ms))
        return [d1.task_key(row) for row in ended]

    async def cancel(self, task_key: TaskKey, retention_ms: int) -> Stopped:
        """Cancel a task that has not ended."""
        now = await self._standing(task_key)
        if now is None:
            return Stopped(False, 0, None)
        cancelling = CANCEL.bind(task_key=task_key, generation=now.generation, retention_ms=retention_ms)
        changed, starting = await self._end([task_key], cancelling, _start_window(task_key))
        stopped = _stopped(bool(changed), starting)
        # If a client retried the task just after it was cancelled, the task continues, perhaps under another claim.
        is_over = starting and d1.text(starting[0], "status") == Status.CANCELLED
        return stopped if is_over else stopped._replace(object_fence=None)

    async def erase(self, task_key: TaskKey) -> Stopped:
        """Erase a task, which the caller has just read, with all its parts.

        If the write had to be sent again and the second send finds no task, the task counts as erased, and its calls
        count as just announced.
        """
        *parts, whole = (part.bind(task_key=task_key) for part in ERASE)
        # The parts go first, because in a full database the tombstone needs the space that this frees.
        starting, *_, gone, _ = await self._database.run(
            _start_window(task_key),
            *parts,
            BURY.bind(task_key=task_key, tombstone_ms=TOMBSTONE_MS),
            ERASE_COUNT.bind(task_key=task_key),
            ERASE_COUNT_OPEN.bind(task_key=task_key),
            whole,
            ERASE_CALLS.bind(task_key=task_key),
        )
        if not gone and self._database.sends > 1:
            return Stopped(True, _START_MS_MOST, None)
        return _stopped(bool(gone), starting)


def expiry(task_keys: Sequence[TaskKey], overdue: Failure, retention_ms: int) -> BoundStatement:
    """Return the statement that fails those of the given tasks whose deadline has passed."""
    assert overdue.code == DEADLINE_EXCEEDED
    return EXPIRE.bind(task_keys=as_json(task_keys), message=overdue.message, retention_ms=retention_ms)


def _start_window(task_key: TaskKey) -> BoundStatement:
    return START_WINDOW.bind(task_key=task_key, lanes_from_chunks=limits.LANES_FROM_CHUNKS)


def _stopped(changed: bool, found: Sequence[Row]) -> Stopped:
    if not found:
        return Stopped(changed, 0, None)
    fence = d1.whole(found[0], "fence") if d1.whole(found[0], "on_object") else None
    return Stopped(changed, max(0, d1.whole(found[0], "left_ms")), fence)
