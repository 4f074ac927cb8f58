"""What the sweep reads and writes: it finds due tasks, takes their dispatch, gives object slots and erases tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..core import limits
from ..core.ids import TaskKey
from ..core.states import Status
from .d1 import columns
from .d1.database import Row, Store
from .d1.statement import BoundStatement, as_json
from .seen import LATE_MS, Seen, note
from .sql import sweep as sql


@dataclass(frozen=True, slots=True)
class Due:
    """The tasks that one read of the sweep found, grouped by what must be done with each of them.

    `now_ms` is the time of the read by the database's clock, or 0 if the read found no task.

    `live` are tasks that have a worker, or that rest after a worker died. `stalls` has the tasks whose worker is gone,
    each with the number of its claims in a row that ended without a finished call. `unanswered` are tasks that were
    dispatched several times and that no worker claimed. `uncounted` says that the sums over ended tasks may lack
    something of the tasks whose retention is over. `looked` has the rows of the statements that joined the read.
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
        """Add an unfinished task that the read found to the group to which the task belongs.

        `stalls` is how many workers in a row have died on the task.
        """
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
    """Reads and writes in the database what a sweep needs.

    Each method of `SweepStore` is one call to D1, unless it says otherwise.
    """

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
            sql.DUE.bind(
                most=most,
                tenants_served=most if served is None else served,
                apart_ms=_apart_ms(delay_ms),
                in_vain=limits.SENDS_IN_VAIN if stands_in else None,
            )
        ]
        if erasing:
            batch += [_past_retention(erasing), sql.REMOVE_TOMBSTONES.bind(), note(Seen.SWEEP)]
        found, *others = await self._database.run(*batch, *looks)
        due = _read_past_retention(others[0]) if erasing else Due()
        if found and not due.past_retention:
            due = Due(columns.whole(found[0], "now"))
        due = replace(due, looked=others[len(batch) - 1 :])
        for row in found:
            due.add(
                columns.task_key(row),
                Status(columns.text(row, "status")),
                live=bool(row["live"]),
                overdue=bool(row["overdue"]),
                stalls=columns.whole(row, "stalls"),
            )
            if columns.whole(row, "dispatches") >= limits.SENDS_IN_VAIN:
                due.unanswered.add(columns.task_key(row))
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
            sql.POSTPONE.bind(task_keys=as_json(due.live)),
            sql.REDISPATCH.bind(
                task_keys=as_json(due.idle),
                delay_ms=delay_ms,
                apart_ms=_apart_ms(delay_ms),
                doublings_most=limits.SWEEP_BACKOFF_DOUBLINGS_MOST,
            ),
        )
        return [columns.task_key(row) for row in taken]

    async def make_due(self, task_keys: Sequence[TaskKey]) -> None:
        """Make tasks without a worker due for the sweep at once, because the host that should run them could not."""
        await self._database.run(sql.MAKE_DUE.bind(task_keys=as_json(task_keys)))

    async def fill_places(self, most: int, give_most: int) -> list[TaskKey]:
        """Give up to `give_most` free object slots to waiting tasks, and return the tasks that got a slot.

        `most` is how many object slots there are in all. If tasks are waiting, the method makes a second call to D1.
        """
        _, found = await self._database.run(sql.FREE_PLACES.bind(), _next_places(None, most, give_most))
        return await self.give_places([columns.task_key(row) for row in found], most) if found else []

    async def give_places(self, task_keys: Sequence[TaskKey], most: int) -> list[TaskKey]:
        """Give object slots to waiting tasks, in the given order, and make these tasks due.

        Return the tasks that got an object slot.
        """
        names = as_json(task_keys)
        given, _ = await self._database.run(
            sql.GIVE_PLACES.bind(task_keys=names, most=most), sql.PLACED_DUE.bind(task_keys=names)
        )
        got = {columns.task_key(row) for row in given}
        return [task_key for task_key in task_keys if task_key in got]

    async def take_place(self, task_key: TaskKey, most: int) -> tuple[bool, list[TaskKey]]:
        """Take one of `most` object slots for a task, if a slot is free and it is the task's turn.

        Returns whether the task took a slot, and a list with the other task that should get a free slot, if there is
        one.
        """
        _, taken, found = await self._database.run(
            sql.FREE_PLACES.bind(),
            sql.TAKE_PLACE.bind(task_key=task_key, most=most, walk_most=_walk_most(most)),
            _next_places(task_key, most, 1),
        )
        return bool(taken), [columns.task_key(row) for row in found]

    async def may_stand_in(self, task_key: TaskKey, most: int) -> bool:
        """Whether another host may work on a task in place of its Durable Object.

        No other host may work on the task while it only waits for one of the `most` object slots.
        """
        (found,) = await self._database.run(sql.MAY_STAND_IN.bind(task_key=task_key, most=most, late_ms=LATE_MS))
        return bool(found and found[0]["may"])

    async def erase_expired(self, due: Due) -> int:
        """Erase those of the found tasks whose retention is over, and return the number of erased tasks."""
        task_keys = as_json(due.past_retention)
        *parts, whole = sql.ERASE_EXPIRED
        count = sql.EXPIRED_COUNT if due.uncounted else ()
        *_, gone = await self._database.run(
            *(part.bind(task_keys=task_keys, now_ms=due.now_ms) for part in (*parts, *count, whole))
        )
        return len(gone)


def _apart_ms(delay_ms: int) -> int:
    """Return for how many ms after a poll has dispatched a task the sweep does not dispatch it.

    Between two of the sweep's own dispatches of a task, more time passes than that.
    """
    return min(LATE_MS, delay_ms)


def _walk_most(places: int) -> int:
    """Return how many of a tenant's tasks are read to fill object slots; up to `places` of them have slots already."""
    return places + limits.PLACES_WALK_MOST


def _next_places(task_key: TaskKey | None, most: int, give_most: int) -> BoundStatement:
    return sql.NEXT_PLACES.bind(task_key=task_key, most=most, give_most=give_most, walk_most=_walk_most(most))


def _past_retention(most: int) -> BoundStatement:
    return sql.PAST_RETENTION.bind(most=most, chunks_most=limits.ERASE_OUTPUTS_MOST)


def _read_past_retention(found: Sequence[Row]) -> Due:
    now_ms = columns.whole(found[0], "now") if found else 0
    uncounted = any(row["uncounted"] for row in found)
    return Due(now_ms, past_retention=[columns.task_key(row) for row in found], uncounted=uncounted)
