"""The sweep's share of the store: what is due, and who takes it on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..core import limits
from ..core.ids import TaskKey
from ..core.states import Status
from . import columns
from .database import Row, Store
from .deliveries import DueDelivery, look, read_look
from .seen import LATE_MS, Seen, note
from .sql import sweep as sql
from .sql.statement import BoundStatement, as_json


@dataclass(frozen=True, slots=True)
class Due:
    """What the sweep found: tasks by what they need. `now_ms` is the database's time, if it found any.

    `live` are those that somebody works on, or that rest. `stalls` has those that nobody works on any more, by how many
    claims in a row have ended without a finished call. `unanswered` are those that were sent off again before, and
    nobody came for them. `uncounted`: some of those past their retention may not be in the sums so far.
    """

    now_ms: int = 0
    live: list[TaskKey] = field(default_factory=list)
    idle: list[TaskKey] = field(default_factory=list)
    past_retention: list[TaskKey] = field(default_factory=list)
    overdue: list[TaskKey] = field(default_factory=list)
    stalls: dict[TaskKey, int] = field(default_factory=dict)
    unanswered: set[TaskKey] = field(default_factory=set)
    uncounted: bool = field(default=False, compare=False)
    deliveries: list[DueDelivery] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.live or self.idle or self.past_retention or self.overdue)

    @property
    def looked_at(self) -> int:
        """How many tasks that go on were found."""
        return len(self.live) + len(self.idle) + len(self.overdue)

    def split(self, idle: int) -> "tuple[Due, Due]":
        """Return everything with so many of the idle tasks, and the other idle tasks."""
        first, others = self.idle[:idle], self.idle[idle:]
        stalls = [{key: self.stalls[key] for key in keys if key in self.stalls} for keys in (first, others)]
        return replace(self, idle=first, stalls=stalls[0]), Due(idle=others, stalls=stalls[1])

    def without(self, task_keys: Sequence[TaskKey]) -> "Due":
        """Return everything but these idle tasks."""
        return replace(self, idle=[key for key in self.idle if key not in task_keys])

    def behind(self, task_keys: Sequence[TaskKey]) -> "Due":
        """Return everything, with these tasks as the first of the idle ones."""
        return replace(self, idle=[*task_keys, *self.without(task_keys).idle])

    def add(self, task_key: TaskKey, status: Status, *, live: bool, overdue: bool, stalls: int) -> None:
        """Sort one task in that goes on; `stalls` are the workers in a row that died on it."""
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
    """What the sweep asks and does, each one call to D1."""

    async def due(
        self,
        most: int,
        *,
        served: int | None = None,
        erase_most: int | None = None,
        delay_ms: int = 0,
        stands_in: bool = False,
        plan: str = "free",
    ) -> Due:
        """Find tasks that the sweep must look at, each tenant's longest overdue first, the tenants taking turns.

        With them come up to `erase_most` tasks to erase, as many as there may be of the others unless it says so. With
        0 they are not looked for. Else old tombstones are removed, the sweep is noted, and deliveries that are due are
        found, as many as the `plan` allows. `served` is how many of
        the tasks that go on the caller is sure to get to, all unless it says so. Tasks are left out that `take_due`
        would not take on after the same `delay_ms`, but for the unanswered ones where the caller works on these itself.
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
            batch += [_past_retention(erasing), sql.REMOVE_TOMBSTONES.bind(), note(Seen.SWEEP), look(plan)]
        found, *others = await self._database.run(*batch)
        due = _read_past_retention(others[0]) if others else Due()
        if found and not due.past_retention:
            due = Due(columns.whole(found[0], "now"))
        if others:
            due.deliveries.extend(read_look(others[-1]))
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
        """Find up to so many ended tasks whose retention is over."""
        (found,) = await self._database.run(_past_retention(most))
        return _read_past_retention(found)

    async def take_due(self, due: Due, delay_ms: int) -> list[TaskKey]:
        """Postpone live tasks, take on idle ones, and return those to dispatch.

        Another sweep may have taken some, and those are left out that a poll sent off within LATE_MS or `delay_ms`.
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
        """Make tasks that nobody works on due at once: whoever was to run them could not."""
        await self._database.run(sql.MAKE_DUE.bind(task_keys=as_json(task_keys)))

    async def fill_places(self, most: int, give_most: int) -> list[TaskKey]:
        """Give the places on objects that are free, of so many, to tasks that wait, and return those tasks.

        Up to `give_most` get one. It is a second call if there are any.
        """
        _, found = await self._database.run(sql.FREE_PLACES.bind(), _next_places(None, most, give_most))
        return await self.give_places([columns.task_key(row) for row in found], most) if found else []

    async def give_places(self, task_keys: Sequence[TaskKey], most: int) -> list[TaskKey]:
        """Give places to tasks that wait, in this order, and make them due. Return those that got one just now."""
        names = as_json(task_keys)
        given, _ = await self._database.run(
            sql.GIVE_PLACES.bind(task_keys=names, most=most), sql.PLACED_DUE.bind(task_keys=names)
        )
        got = {columns.task_key(row) for row in given}
        return [task_key for task_key in task_keys if task_key in got]

    async def take_place(self, task_key: TaskKey, most: int) -> tuple[bool, list[TaskKey]]:
        """Take a place among the tasks that objects work on, so many at most, if it is the task's turn.

        Return whether it has one; if not, the task, if any, that should have a place that is free.
        """
        _, taken, found = await self._database.run(
            sql.FREE_PLACES.bind(),
            sql.TAKE_PLACE.bind(task_key=task_key, most=most, walk_most=_walk_most(most)),
            _next_places(task_key, most, 1),
        )
        return bool(taken), [columns.task_key(row) for row in found]

    async def may_stand_in(self, task_key: TaskKey, most: int) -> bool:
        """Whether somebody may work on it in place of its object: not where it only waits for one of so many places."""
        (found,) = await self._database.run(sql.MAY_STAND_IN.bind(task_key=task_key, most=most, late_ms=LATE_MS))
        return bool(found and found[0]["may"])

    async def erase_expired(self, due: Due) -> int:
        """Erase the tasks whose retention is over, and return how many were."""
        task_keys = as_json(due.past_retention)
        *parts, whole = sql.ERASE_EXPIRED
        count = [sql.EXPIRED_COUNT] if due.uncounted else []
        *_, gone = await self._database.run(
            *(part.bind(task_keys=task_keys, now_ms=due.now_ms) for part in (*parts, *count, whole))
        )
        return len(gone)


def _apart_ms(delay_ms: int) -> int:
    """Return for how long the sweep leaves a task alone that was sent off; its own sendings are farther apart."""
    return min(LATE_MS, delay_ms)


def _walk_most(places: int) -> int:
    """How many of a tenant's tasks are looked at for a place: those that have one may come first."""
    return places + limits.PLACES_WALK_MOST


def _next_places(task_key: TaskKey | None, most: int, give_most: int) -> BoundStatement:
    return sql.NEXT_PLACES.bind(task_key=task_key, most=most, give_most=give_most, walk_most=_walk_most(most))


def _past_retention(most: int) -> BoundStatement:
    return sql.PAST_RETENTION.bind(most=most, chunks_most=limits.ERASE_OUTPUTS_MOST)


def _read_past_retention(found: Sequence[Row]) -> Due:
    now_ms = columns.whole(found[0], "now") if found else 0
    uncounted = any(row["uncounted"] for row in found)
    return Due(now_ms, past_retention=[columns.task_key(row) for row in found], uncounted=uncounted)
