"""What the sweep reads and writes: it finds due tasks, takes their dispatch, gives object slots and erases tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..domain import limits
from ..domain.ids import TaskKey
from ..domain.task import Status
from . import d1
from .d1 import BoundStatement, Row, Store, as_json, statement
from .fragments import (
    ABANDONED,
    FREE_AT,
    IN_TIME,
    JUST_SENT,
    LATE,
    LISTED,
    NOW,
    OVERDUE,
    STALLS,
    UNATTENDED,
    delete_parts,
    wake,
)
from .seen import LATE_MS, Seen, note
from .tallies import LACKING, count_erased

# Finds unfinished tasks that are due: of each tenant the task that has been due longest, then of each tenant the
# second, and so on, so that no tenant's backlog delays another tenant's task. Each minute, the tenants' shifts begin
# `:tenants_served` tenants further on; a sweep certainly serves so many tenants. If T tenants have unfinished tasks,
# the first task of each tenant is served within T/:tenants_served minutes, however many tasks the other tenants have.
# At most `:most` due tasks are found. An index gives the tenants with unfinished tasks one by one, and each tenant's
# tasks in order, so no other rows are read. A task that a poll has just dispatched is left out, unless its deadline has
# passed or it was dispatched `:in_vain` times (with NULL, the number of dispatches does not matter).
_OWN_DUE = f"""SELECT id FROM tasks AS own
    WHERE own.tenant = shifts.tenant AND finished_at IS NULL AND wake_at <= {NOW}
    AND (NOT {JUST_SENT} OR dispatches >= :in_vain OR {OVERDUE}) ORDER BY wake_at LIMIT :most"""
DUE = statement(f"""
WITH RECURSIVE tenants (tenant, rank) AS (
  SELECT min(tenant), 0 FROM tasks WHERE finished_at IS NULL
  UNION ALL SELECT (SELECT min(tenant) FROM tasks WHERE finished_at IS NULL AND tenant > tenants.tenant), rank + 1
  FROM tenants WHERE tenant IS NOT NULL
), shifts (tenant, shift) AS (
  SELECT tenant, (rank - {NOW} / 60000 * :tenants_served % count(*) OVER () + count(*) OVER ()) % count(*) OVER ()
  FROM tenants WHERE tenant IS NOT NULL
), found AS (
  SELECT tasks.id, status, {STALLS} AS stalls, dispatches, lease_until, rest_until, deadline_at, shift,
    row_number() OVER (PARTITION BY tasks.tenant ORDER BY wake_at, tasks.id) AS place
  FROM shifts CROSS JOIN tasks ON tasks.id IN ({_OWN_DUE})
)
SELECT id, status, stalls, dispatches, {NOW} AS now, coalesce({FREE_AT} > {NOW}, 0) AS live, {OVERDUE} AS overdue
FROM found ORDER BY place, shift LIMIT :most
""")

# Finds ended tasks whose retention is over, longest over first: up to `:most` tasks that have `:chunks_most` chunks
# together, or one task with more chunks. One transaction can erase all tasks that PAST_RETENTION finds. `uncounted`
# says that the sums over ended tasks lack something of the task. PAST_RETENTION reads no tasks whose retention is not
# over.
PAST_RETENTION = statement(f"""
SELECT id, {NOW} AS now, uncounted FROM (
  SELECT id, uncounted, sum(total) OVER page AS chunks, row_number() OVER page AS place FROM (
    SELECT id, total, wake_at, {LACKING} AS uncounted FROM tasks WHERE finished_at IS NOT NULL AND wake_at <= {NOW}
    ORDER BY wake_at, id LIMIT :most
  ) WINDOW page AS (ORDER BY wake_at, id)
) WHERE place = 1 OR chunks <= :chunks_most ORDER BY place
""")

# Removes tombstones whose time is over, because the writes that they guard against can no longer arrive.
REMOVE_TOMBSTONES = statement(f"DELETE FROM tombstones WHERE until <= {NOW}")

# Postpones the next check of tasks that have a worker or rest until another worker may take them over.
POSTPONE = statement(f"""
UPDATE tasks SET wake_at = {wake(FREE_AT)} WHERE {LISTED} AND status = 'processing' AND {FREE_AT} > {NOW}
""")

# Takes the dispatch of tasks that have no worker for this sweep. The sweep checks the task again `:delay_ms` after a
# dispatch; this delay is doubled with each dispatch in vain, up to `:doublings_most` times. The dispatch is recorded
# before the message is sent. If the sweep dies in between, the task is only delayed; in the other order, the message
# could be sent again and again. A task that another sweep has taken is no longer due, and a task that a poll dispatched
# within the last `:apart_ms` is not taken. A task whose deadline has just passed is handled by the next sweep.
REDISPATCH = statement(f"""
UPDATE tasks SET dispatches = dispatches + 1, sent_at = {NOW},
  wake_at = {wake(f"{NOW} + (:delay_ms << min(dispatches + 1, :doublings_most))")}
WHERE {LISTED} AND wake_at <= {NOW} AND NOT {JUST_SENT} AND {IN_TIME} AND (status = 'pending' OR ({ABANDONED}))
RETURNING id
""")

# Undoes REDISPATCH, or makes a new task due for the next sweep. No message was sent for the task, so any host may
# dispatch the task at once, even in the minute after a poll took its dispatch with NUDGE. If MAKE_DUE is sent twice,
# the second send changes nothing, because the tasks are already due.
MAKE_DUE = statement(f"""
UPDATE tasks SET dispatches = max(0, dispatches - 1), sent_at = NULL, wake_at = {NOW}
WHERE {LISTED} AND wake_at > {NOW} AND (status = 'pending' OR ({ABANDONED}))
""")

# --- Slots of objects: the places for tasks that objects work on ------------------------------------------------

# A condition: the task may keep its object slot, because an object works on it, or may do so within SLOT_KEPT_SECONDS.
# A task that waits for a pause to end, or for the rest after its worker died, has no slot.
_SOON = f"{NOW} + {round(limits.SLOT_KEPT_SECONDS * 1000)}"
_KEEPS_SLOT = f"""finished_at IS NULL AND ((status = 'pending' AND not_before <= {_SOON})
  OR (status = 'processing' AND route = 'durable-object' AND (lease_until > {NOW} OR rest_until <= {_SOON})))"""

# Frees the object slots of tasks that have ended, that another route works on, or that no object may work on now.
FREE_SLOTS = statement(f"""
DELETE FROM object_places WHERE NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.id = object_places.id AND {_KEEPS_SLOT})
""")


# The tasks that wait for one of `:most` object slots, in the order in which they get slots. A free slot goes to the
# tenant with the fewest slots, and among tenants with equally many to the one that has waited longest: since its task
# was due, or since one of its unfinished tasks made its last calls, if that was later. So a tenant whose tasks come
# back again and again, because their model is away, takes turns with others. Of a tenant's tasks, the one that has
# been due longest comes first. For each tenant, the `:walk_most` unfinished tasks are read that the sweep must check
# first. No task is read if no slot is free, or if the task `:task_key` (which may be NULL) already has a slot.
def _queue(also: str = "0") -> str:
    """Return the table expressions of tasks that wait for a slot, with their turns, and those that `also` adds."""
    row = f"""tasks.id, tasks.tenant, max(created_at, not_before) AS due_at, announced_at, (
    {UNATTENDED} AND route = 'durable-object' AND {IN_TIME}
    AND NOT EXISTS (SELECT 1 FROM object_places WHERE object_places.id = tasks.id)) OR {also} AS waits"""
    return f"""WITH RECURSIVE room (places) AS (
  SELECT CASE WHEN EXISTS (SELECT 1 FROM object_places WHERE id = :task_key) THEN 0 ELSE :most - count(*) END
  FROM object_places
), tenants (tenant) AS (
  SELECT min(tenant) FROM tasks WHERE finished_at IS NULL AND (SELECT places FROM room) > 0
  UNION ALL SELECT (SELECT min(tenant) FROM tasks WHERE finished_at IS NULL AND tenant > tenants.tenant)
  FROM tenants WHERE tenant IS NOT NULL
), walked AS MATERIALIZED (
  SELECT {row} FROM tenants CROSS JOIN tasks ON tasks.id IN (
    SELECT id FROM tasks AS own WHERE own.tenant = tenants.tenant AND finished_at IS NULL
    ORDER BY wake_at LIMIT :walk_most
  )
  UNION SELECT {row} FROM tasks WHERE {also}
), held AS MATERIALIZED (
  SELECT substr(id, 1, instr(id, ':') - 1) AS tenant, count(*) AS places FROM object_places GROUP BY 1
), served AS MATERIALIZED (
  SELECT tenant, max(announced_at) AS at FROM walked GROUP BY tenant
), queue AS (
  SELECT id, row_number() OVER (ORDER BY place, waits_since, due_at, id) AS nth FROM (
    SELECT id, due_at, max(due_at, coalesce(served.at, 0)) AS waits_since,
      row_number() OVER (PARTITION BY walked.tenant ORDER BY due_at, id) + coalesce(places, 0) AS place
    FROM walked JOIN served USING (tenant) LEFT JOIN held USING (tenant) WHERE waits
  )
)"""


# Takes one of `:most` object slots for a task if it is the task's turn, or keeps the slot that the task has. If
# TAKE_SLOT is sent twice, the task still has only one slot. If TAKE_SLOT arrives late, an unfinished task may take a
# slot that it does not need, and then keeps the slot until it has ended. If TAKE_SLOT gives no row, the task has no
# slot. Goes after FREE_SLOTS.
TAKE_SLOT = statement(f"""
INSERT INTO object_places (id) SELECT :task_key
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND finished_at IS NULL) AND (
  EXISTS (SELECT 1 FROM object_places WHERE id = :task_key) OR ((SELECT count(*) FROM object_places) < :most
    AND (SELECT places >= nth FROM ({_queue("tasks.id = :task_key")} SELECT nth, places FROM queue, room
      WHERE id = :task_key)))
) ON CONFLICT DO UPDATE SET id = excluded.id RETURNING id
""")

# Finds up to `:give_most` tasks that should get the free slots, in the order of turns. Goes after FREE_SLOTS.
NEXT_SLOTS = statement(f"{_queue()} SELECT id FROM queue, room WHERE nth <= min(places, :give_most) ORDER BY nth")

# Gives free object slots to the tasks in `:task_keys`, in the list's order; `:most` is how many slots there are in all.
GIVE_SLOTS = statement(f"""
INSERT INTO object_places (id) SELECT value FROM json_each(:task_keys)
WHERE key < :most - (SELECT count(*) FROM object_places)
  AND EXISTS (SELECT 1 FROM tasks WHERE id = value AND finished_at IS NULL AND {UNATTENDED})
ON CONFLICT DO NOTHING RETURNING id
""")

# Makes tasks that got an object slot due at once, before the other tasks of their tenants, because the host that gave
# the slots may die before it has notified the objects. Goes after GIVE_SLOTS.
SEATED_DUE = statement(f"""
UPDATE tasks SET wake_at = {wake(f"min(created_at, {NOW})")}, dispatches = 0
WHERE {LISTED} AND finished_at IS NULL AND {UNATTENDED}
  AND EXISTS (SELECT 1 FROM object_places WHERE object_places.id = tasks.id)
""")

# Says whether another host may work on a task in place of its Durable Object. No other host may work on the task while
# it only waits because all of the `:most` object slots are taken. A slot counts as free if the task that has it is
# `:late_ms` late or past its deadline. If MAY_STAND_IN gives no row, the task does not exist.
MAY_STAND_IN = statement(f"""
SELECT asked.route <> 'durable-object' OR :most > (
  SELECT count(*) FROM object_places CROSS JOIN tasks ON tasks.id = object_places.id
  WHERE {_KEEPS_SLOT} AND NOT ({LATE} OR {OVERDUE})
) AS may FROM tasks AS asked WHERE asked.id = :task_key
""")

# --- The end of the retention ------------------------------------------------------------------------------

# Erases those of the given tasks whose retention was over at `:now_ms`, the time of PAST_RETENTION. The erasure is a
# transaction of its own, so that a large erasure does not keep the sweep from dispatching. All statements of
# ERASE_EXPIRED apply to the same tasks, because they compare with the same time. A task that a client has retried since
# PAST_RETENTION is not erased.
_PAST_RETENTION = f"""(SELECT id FROM tasks WHERE {LISTED}
  AND status IN ('completed', 'failed', 'cancelled') AND wake_at <= :now_ms)"""
ERASE_EXPIRED = (
    *delete_parts("IN", _PAST_RETENTION),
    statement(f"DELETE FROM tasks WHERE id IN {_PAST_RETENTION} RETURNING id"),
)

# Adds to the sums what they lack of the expired tasks. EXPIRED_COUNT runs before ERASE_EXPIRED's last statement.
EXPIRED_COUNT = count_erased(f"id IN {_PAST_RETENTION}")


@dataclass(frozen=True, slots=True)
class Due:
    """The tasks that one read of the sweep found, grouped by what must be done with each of them.

    `now_ms` is the time of the read by the database's clock, or 0 if the read found no task. `live` are tasks that have
    a worker, or that rest after a worker died. `stalls` has the tasks whose worker is gone, each with the number of its
    claims in a row that ended without a finished call. `unanswered` are tasks that were dispatched several times and
    that no worker claimed. `uncounted` says that the sums over ended tasks may lack something of the tasks whose
    retention is over. `looked` has the rows of the statements that joined the read.
    """

    now_ms: int = 0
    live: list[TaskKey] = field(default_factory=list)
    idle: list[TaskKey] = field(default_factory=list)
    past_retention: list[TaskKey] = field(default_factory=list)
    overdue: list[TaskKey] = field(default_factory=list)
    stalls: dict[TaskKey, int] = field(default_factory=dict)
    unanswered: set[TaskKey] = field(default_factory=set)
    uncounted: bool = field(default=False, compare=False)
    looked: Sequence[Sequence[Row]] = field(default=(), compare=False)

    @property
    def empty(self) -> bool:
        """Whether the sweep's read found no task."""
        return not (self.live or self.idle or self.past_retention or self.overdue)

    @property
    def looked_at(self) -> int:
        """How many unfinished tasks the read found."""
        return len(self.live) + len(self.idle) + len(self.overdue)

    def split(self, idle: int) -> "tuple[Due, Due]":
        """Split the found tasks in two: all but the idle tasks after the first `idle`, and these other idle tasks."""
        first, others = self.idle[:idle], self.idle[idle:]
        stalls = [{key: self.stalls[key] for key in keys if key in self.stalls} for keys in (first, others)]
        return replace(self, idle=first, stalls=stalls[0]), Due(idle=others, stalls=stalls[1])

    def without(self, task_keys: Sequence[TaskKey]) -> "Due":
        """Return all found tasks except the idle ones in `task_keys`."""
        return replace(self, idle=[key for key in self.idle if key not in task_keys])

    def behind(self, task_keys: Sequence[TaskKey]) -> "Due":
        """Return all found tasks, with the tasks in `task_keys` placed first among the idle ones."""
        return replace(self, idle=[*task_keys, *self.without(task_keys).idle])

    def add(self, task_key: TaskKey, status: Status, *, live: bool, overdue: bool, stalls: int) -> None:
        """Add an unfinished task to its group. `stalls` is how many workers in a row have died on it."""
        if overdue:
            self.overdue.append(task_key)
            return
        if stalls and status is Status.PROCESSING and not live:
            self.stalls[task_key] = stalls
        if status is Status.PROCESSING and live:
            self.live.append(task_key)
        else:
            self.idle.append(task_key)


class SweepStore(Store):
    """Reads and writes what a sweep needs. Each method is one call to D1, unless it says otherwise."""

    async def due(
        self,
        most: int,
        *,
        served: int | None = None,
        erase_most: int | None = None,
        delay_ms: int = 0,
        stands_in: bool = False,
        looks: Sequence[BoundStatement] = (),
    ) -> Due:
        """Find due tasks: the tenants take turns, and each tenant's task that has been due longest comes first.

        The read finds at most `most` unfinished tasks. `due` also finds tasks to erase: up to `erase_most`, or up to
        `most` if `erase_most` is None. If `erase_most` is not 0, the call also removes old tombstones, and records that
        the sweep came. `looks` are statements of other duties that join the read. `served` is how many of the
        unfinished tasks the caller will certainly serve; None means all of them. Tasks that `take_due` would not take
        with the same `delay_ms` are left out. With `stands_in`, tasks that were dispatched in vain are included,
        because the caller works on them itself.
        """
        erasing = most if erase_most is None else erase_most
        batch = [
            DUE.bind(
                most=most,
                tenants_served=most if served is None else served,
                apart_ms=_apart_ms(delay_ms),
                in_vain=limits.SENDS_IN_VAIN if stands_in else None,
            )
        ]
        if erasing:
            batch += [_past_retention(erasing), REMOVE_TOMBSTONES.bind(), note(Seen.SWEEP)]
        found, *others = await self._database.run(*batch, *looks)
        due = _read_past_retention(others[0]) if erasing else Due()
        if found and not due.past_retention:
            due = Due(d1.whole(found[0], "now"))
        due = replace(due, looked=others[len(batch) - 1 :])
        for row in found:
            key, status, stalls = d1.task_key(row), Status(d1.text(row, "status")), d1.whole(row, "stalls")
            due.add(key, status, live=bool(row["live"]), overdue=bool(row["overdue"]), stalls=stalls)
            if d1.whole(row, "dispatches") >= limits.SENDS_IN_VAIN:
                due.unanswered.add(key)
        return due

    async def past_retention(self, most: int) -> Due:
        """Find up to `most` ended tasks whose retention is over, for erasure."""
        (found,) = await self._database.run(_past_retention(most))
        return _read_past_retention(found)

    async def take_due(self, due: Due, delay_ms: int) -> list[TaskKey]:
        """Postpone the next check of live tasks, take the dispatch of idle tasks, and return the tasks to dispatch.

        Tasks that another sweep has taken are left out, and so are tasks that a poll has dispatched within LATE_MS, or
        within `delay_ms` if that is shorter.
        """
        _, taken = await self._database.run(
            POSTPONE.bind(task_keys=as_json(due.live)),
            REDISPATCH.bind(
                task_keys=as_json(due.idle),
                delay_ms=delay_ms,
                apart_ms=_apart_ms(delay_ms),
                doublings_most=limits.SWEEP_BACKOFF_DOUBLINGS_MOST,
            ),
        )
        return [d1.task_key(row) for row in taken]

    async def make_due(self, task_keys: Sequence[TaskKey]) -> None:
        """Make tasks without a worker due for the sweep at once, because the host that should run them could not."""
        await self._database.run(MAKE_DUE.bind(task_keys=as_json(task_keys)))

    async def fill_slots(self, most: int, give_most: int) -> list[TaskKey]:
        """Give up to `give_most` of `most` slots to waiting tasks, by a second call, and return those."""
        _, found = await self._database.run(FREE_SLOTS.bind(), _next_slots(None, most, give_most))
        return await self.give_slots([d1.task_key(row) for row in found], most) if found else []

    async def give_slots(self, task_keys: Sequence[TaskKey], most: int) -> list[TaskKey]:
        """Give object slots to waiting tasks, in order, and make these due. Return those that got one."""
        names = as_json(task_keys)
        given, _ = await self._database.run(
            GIVE_SLOTS.bind(task_keys=names, most=most), SEATED_DUE.bind(task_keys=names)
        )
        got = {d1.task_key(row) for row in given}
        return [task_key for task_key in task_keys if task_key in got]

    async def take_slot(self, task_key: TaskKey, most: int) -> tuple[bool, list[TaskKey]]:
        """Take a slot if it is the task's turn; whether it did, and the other task that should get one."""
        _, taken, found = await self._database.run(
            FREE_SLOTS.bind(),
            TAKE_SLOT.bind(task_key=task_key, most=most, walk_most=_walk_most(most)),
            _next_slots(task_key, most, 1),
        )
        return bool(taken), [d1.task_key(row) for row in found]

    async def may_stand_in(self, task_key: TaskKey, most: int) -> bool:
        """Whether another host may take a task's place: not while it only waits for one of `most` slots."""
        (found,) = await self._database.run(MAY_STAND_IN.bind(task_key=task_key, most=most, late_ms=LATE_MS))
        return bool(found and found[0]["may"])

    async def erase_expired(self, due: Due) -> int:
        """Erase those of the found tasks whose retention is over, and return the number of erased tasks."""
        task_keys = as_json(due.past_retention)
        *parts, whole = ERASE_EXPIRED
        count = EXPIRED_COUNT if due.uncounted else ()
        *_, gone = await self._database.run(
            *(part.bind(task_keys=task_keys, now_ms=due.now_ms) for part in (*parts, *count, whole))
        )
        return len(gone)


def _apart_ms(delay_ms: int) -> int:
    """Return for how many ms after a poll's dispatch the sweep leaves a task; its own are farther apart."""
    return min(LATE_MS, delay_ms)


def _walk_most(places: int) -> int:
    """Return how many of a tenant's tasks are read to fill object slots; up to `places` of them have slots already."""
    return places + limits.SLOTS_WALK_MOST


def _next_slots(task_key: TaskKey | None, most: int, give_most: int) -> BoundStatement:
    return NEXT_SLOTS.bind(task_key=task_key, most=most, give_most=give_most, walk_most=_walk_most(most))


def _past_retention(most: int) -> BoundStatement:
    return PAST_RETENTION.bind(most=most, chunks_most=limits.ERASE_OUTPUTS_MOST)


def _read_past_retention(found: Sequence[Row]) -> Due:
    now_ms = d1.whole(found[0], "now") if found else 0
    uncounted = any(row["uncounted"] for row in found)
    return Due(now_ms, past_retention=[d1.task_key(row) for row in found], uncounted=uncounted)
