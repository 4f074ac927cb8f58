"""Records when cron, queue and alarms last triggered the Worker, and decides which request may dispatch a late task.

An isolate remembers which triggers it has recorded lately, so that not every claim records one.
"""

from enum import StrEnum
from typing import NamedTuple

from ..domain import limits
from ..domain.ids import TaskKey
from ..domain.task import Route
from . import d1
from .d1 import BoundStatement, Store, statement
from .fragments import LATE, NOW, UNATTENDED, wake

# Records that a trigger of the Worker came, unless that was recorded within the last `:apart_ms`. SEE runs in the
# transaction of another write, which is made in any case.
SEE = statement(f"""
INSERT INTO seen (what, at) VALUES (:what, {NOW})
ON CONFLICT DO UPDATE SET at = excluded.at WHERE at <= excluded.at - :apart_ms OR at > excluded.at
""")

# Takes the permit for work that may be done at most once in `:apart_ms`: the caller that gets a row back has it. If two
# callers come at once, only the first has the permit, because D1 serialises writes. If TAKE_PERMIT arrives late, the
# permit is taken but not used.
TAKE_PERMIT = statement(f"{SEE.text} RETURNING at")

# Returns for how many ms no caller can take the permit again.
PERMIT = statement(f"SELECT at + :apart_ms - {NOW} AS left_ms FROM seen WHERE what = :what")

# Reads when each trigger of the Worker last came, and when each permit (see TAKE_PERMIT) was last taken.
SEEN = statement("SELECT what, at FROM seen")

# Counts the unfinished tasks, and returns the age of the oldest pending task, or NULL if no task is pending. BACKLOG
# reads two rows for each unfinished task, one row for each tenant with unfinished tasks, and no ended task.
BACKLOG = statement(f"""
WITH RECURSIVE tenants (tenant) AS (
  SELECT min(tenant) FROM tasks WHERE finished_at IS NULL
  UNION ALL SELECT (SELECT min(tenant) FROM tasks WHERE finished_at IS NULL AND tenant > tenants.tenant)
  FROM tenants WHERE tenant IS NOT NULL
)
SELECT coalesce(sum(status = 'pending'), 0) AS pending, coalesce(sum(status = 'processing'), 0) AS processing,
  max(0, {NOW} - min(max(created_at, coalesce(starts_at, 0))) FILTER (WHERE status = 'pending')) AS oldest_ms
FROM tenants CROSS JOIN tasks ON tasks.tenant = tenants.tenant AND finished_at IS NULL
""")

# Takes the dispatch of a late task for a request that reads the task; all requests together can take it at most once in
# `:late_ms`. After this dispatch, the sweep checks the task again in `:delay_ms`, however often the task was dispatched
# before. If the task was already dispatched `:in_vain` times, the sweep's check is not postponed, because the sweep may
# have to work on the task itself. If NUDGE gives no row, the request must not dispatch the task.
_WAKE_AT = wake(f"{NOW} + :delay_ms")
NUDGE = statement(f"""
UPDATE tasks SET dispatches = dispatches + 1, sent_at = {NOW},
  wake_at = CASE WHEN dispatches >= :in_vain THEN min(wake_at, {_WAKE_AT}) ELSE {_WAKE_AT} END
WHERE id = :task_key AND {LATE}
RETURNING dispatches
""")

# Makes the sweep dispatch a task whose dispatch NUDGE took, because no route accepted the task. The task then counts as
# not dispatched, but NUDGE can take its dispatch again only after a minute. If UNSENT takes effect twice or late, the
# only consequence is that the sweep checks the task too early.
UNSENT = statement(f"""
UPDATE tasks SET dispatches = 0, wake_at = {NOW} WHERE id = :task_key AND dispatches > 0 AND {UNATTENDED}
""")


LATE_MS = round(limits.LATE_TASK_SECONDS * 1000)


class Seen(StrEnum):
    """What triggered the Worker: cron, a queue's batch, an object's alarm, or a request for a sweep or resume."""

    SWEEP = "sweep"
    QUEUE = "queue"
    ALARM = "alarm"
    ASKED = "asked"
    RESUMED = "resumed"


class Backlog(NamedTuple):
    """How many tasks are unfinished, and the age of the oldest pending one, None without."""

    pending: int
    processing: int
    oldest_ms: int | None


def note(what: Seen) -> BoundStatement:
    """Make the statement that records, in a transaction with other statements, that a trigger of the Worker came."""
    seconds = limits.SWEEP_SEEN_SECONDS if what is Seen.SWEEP else limits.SEEN_SECONDS
    return SEE.bind(what=what, apart_ms=round(seconds * 1000))


class SeenStore(Store):
    """Records when triggers came, reads these times, and takes permits for a request. Each method is one call to D1."""

    async def take_permit(self, what: Seen, apart_seconds: float) -> int:
        """Try to take the permit for work that may be done at most once in `apart_seconds`.

        Returns 0 if the caller has the permit now, else the milliseconds until the next one. If D1's answer to the
        write was lost, it looks as if another request had the permit.
        """
        apart_ms = round(apart_seconds * 1000)
        taken, permit = await self._database.run(
            TAKE_PERMIT.bind(what=what, apart_ms=apart_ms), PERMIT.bind(what=what, apart_ms=apart_ms)
        )
        return 0 if taken else max(1, d1.whole(permit[0], "left_ms"))

    async def outlook(self) -> tuple[dict[Seen, int], Backlog]:
        """Read when each trigger of the Worker last came (milliseconds since the epoch), and the backlog of tasks."""
        seen, (row,) = await self._database.run(SEEN.bind(), BACKLOG.bind())
        times = {Seen(d1.text(one, "what")): d1.whole(one, "at") for one in seen}
        oldest = d1.maybe_whole(row, "oldest_ms")
        return times, Backlog(d1.whole(row, "pending"), d1.whole(row, "processing"), oldest)

    async def nudge(self, task_key: TaskKey, delay_ms: int) -> bool:
        """Take the dispatch of a late task, so that only this request dispatches the task.

        The sweep checks the task again after `delay_ms`, at least LATE_MS. If the task was already dispatched
        SENDS_IN_VAIN times, the sweep may check it at any time. Returns False if the task is no longer late, or if
        another request has taken its dispatch.
        """
        (taken,) = await self._database.run(
            NUDGE.bind(
                task_key=task_key, delay_ms=max(delay_ms, LATE_MS), late_ms=LATE_MS, in_vain=limits.SENDS_IN_VAIN
            )
        )
        return bool(taken)

    async def unsent(self, task_key: TaskKey) -> None:
        """Make the sweep dispatch a task at once, because no route accepted the task after its dispatch was taken."""
        await self._database.run(UNSENT.bind(task_key=task_key))


_TRIGGERS = {Route.QUEUE: Seen.QUEUE, Route.DURABLE_OBJECT: Seen.ALARM}


class TriggerHeartbeats:
    """The triggers (queue, alarm) that an isolate has recorded in D1, by the event loop's clock.

    An isolate that has forgotten them records each trigger again, with one statement in a claim.
    """

    def __init__(self) -> None:
        self._written_at: dict[Seen, float] = {}
        self._checked_at: float | None = None

    def due(self, route: Route, now: float) -> Seen | None:
        """Return the trigger that a run on this route proves to work; None if there is none, or if recorded lately."""
        trigger = _TRIGGERS.get(route)
        written_at = None if trigger is None else self._written_at.get(trigger)
        return None if written_at is not None and now - written_at < limits.SEEN_SECONDS else trigger

    def written(self, trigger: Seen, now: float) -> None:
        """Note that the trigger was recorded in the database at the time `now`."""
        self._written_at[trigger] = now

    def may_check_sweep(self, now: float) -> bool:
        """Whether this isolate checks for a missed sweep now: at most once in SWEEP_LOOK_SECONDS."""
        if self._checked_at is not None and now - self._checked_at < limits.SWEEP_LOOK_SECONDS:
            return False
        self._checked_at = now
        return True
