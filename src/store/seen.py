"""Records when cron, queue and alarms last triggered the Worker, and decides which request may dispatch a late task."""

from enum import StrEnum
from typing import NamedTuple

from ..core import limits
from ..core.ids import TaskKey
from .d1 import columns
from .d1.database import Store
from .d1.statement import BoundStatement
from .sql import seen as sql

LATE_MS = round(limits.LATE_TASK_SECONDS * 1000)


class Seen(StrEnum):
    """What triggered the Worker: cron (for a sweep), a queue's batch, an object's alarm, or a request for a sweep."""

    SWEEP = "sweep"
    QUEUE = "queue"
    ALARM = "alarm"
    ASKED = "asked"


class Backlog(NamedTuple):
    """How many tasks are unfinished, and how old the oldest pending task is.

    `oldest_ms` is the age of the oldest pending task; None if no task is pending.
    """

    pending: int
    processing: int
    oldest_ms: int | None


def note(what: Seen) -> BoundStatement:
    """Make the statement that records, in a transaction with other statements, that a trigger of the Worker came."""
    seconds = limits.SWEEP_SEEN_SECONDS if what is Seen.SWEEP else limits.SEEN_SECONDS
    return sql.SEE.bind(what=what, apart_ms=round(seconds * 1000))


class SeenStore(Store):
    """Records when triggers of the Worker came, reads these times, and takes turns for work that one request may do.

    Each method of `SeenStore` is one call to D1.
    """

    async def take_turn(self, what: Seen, apart_seconds: float) -> int:
        """Try to take the turn for work that may be done at most once in `apart_seconds`.

        Returns 0 if the caller has the turn now, else the milliseconds until the next turn. If D1's answer to the write
        was lost, it looks as if another request had the turn.
        """
        apart_ms = round(apart_seconds * 1000)
        taken, turn = await self._database.run(
            sql.TAKE_TURN.bind(what=what, apart_ms=apart_ms), sql.TURN.bind(what=what, apart_ms=apart_ms)
        )
        return 0 if taken else max(1, columns.whole(turn[0], "left_ms"))

    async def outlook(self) -> tuple[dict[Seen, int], Backlog]:
        """Read when each trigger of the Worker last came (milliseconds since the epoch), and the backlog of tasks."""
        seen, (row,) = await self._database.run(sql.SEEN.bind(), sql.BACKLOG.bind())
        times = {Seen(columns.text(one, "what")): columns.whole(one, "at") for one in seen}
        oldest = columns.maybe_whole(row, "oldest_ms")
        return times, Backlog(columns.whole(row, "pending"), columns.whole(row, "processing"), oldest)

    async def nudge(self, task_key: TaskKey, delay_ms: int) -> bool:
        """Take the dispatch of a late task, so that only this request dispatches the task.

        The sweep checks the task again after `delay_ms`, at least LATE_MS. If the task was already dispatched
        SENDS_IN_VAIN times, the sweep may check it at any time. Returns False if the task is no longer late, or if
        another request has taken its dispatch.
        """
        (taken,) = await self._database.run(
            sql.NUDGE.bind(
                task_key=task_key,
                delay_ms=max(delay_ms, LATE_MS),
                late_ms=LATE_MS,
                in_vain=limits.SENDS_IN_VAIN,
            )
        )
        return bool(taken)

    async def unsent(self, task_key: TaskKey) -> None:
        """Make the sweep dispatch a task at once, because no route accepted the task after its dispatch was taken."""
        await self._database.run(sql.UNSENT.bind(task_key=task_key))
