"""The sweep's share of the store: what is due, and who takes it on."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..core import limits
from ..core.ids import TaskKey
from ..core.states import Status
from . import columns
from .database import Store
from .sql import sweep as sql
from .sql.statement import as_json


@dataclass(frozen=True, slots=True)
class Due:
    """What the sweep found: tasks by what they need. `now_ms` is the database's time."""

    now_ms: int = 0
    live: list[TaskKey] = field(default_factory=list)
    idle: list[TaskKey] = field(default_factory=list)
    past_retention: list[TaskKey] = field(default_factory=list)
    overdue: list[TaskKey] = field(default_factory=list)
    stalls: dict[TaskKey, int] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether nothing was found."""
        return not (self.live or self.idle or self.past_retention or self.overdue)

    def split(self, idle: int) -> "tuple[Due, Due]":
        """Return everything with so many of the idle tasks, and the other idle tasks."""
        first, others = self.idle[:idle], self.idle[idle:]
        stalls = [{key: self.stalls[key] for key in keys if key in self.stalls} for keys in (first, others)]
        return replace(self, idle=first, stalls=stalls[0]), Due(self.now_ms, idle=others, stalls=stalls[1])

    def add(self, task_key: TaskKey, status: Status, *, live: bool, overdue: bool, stalls: int) -> None:
        """Sort one task in; `stalls` are the workers in a row that died on it."""
        if overdue and not status.terminal:
            self.overdue.append(task_key)
            return
        if stalls and status is Status.PROCESSING and not live:
            self.stalls[task_key] = stalls
        if status.terminal:
            self.past_retention.append(task_key)
        elif status is Status.PROCESSING and live:
            self.live.append(task_key)
        else:
            self.idle.append(task_key)


class SweepStore(Store):
    """What the sweep asks and does, each one call to D1."""

    async def due(self, most: int, served: int | None = None) -> Due:
        """Find the tasks that the sweep must look at, each tenant's longest overdue first, the tenants taking turns.

        Remove old tombstones too.

        `served` is how many of them the caller is sure to get to, all unless it says so.
        """
        _, found = await self._database.run(
            sql.REMOVE_TOMBSTONES.bind(),
            sql.DUE.bind(
                most=most,
                tenants_served=most if served is None else served,
                chunks_most=limits.ERASE_OUTPUTS_MOST,
            ),
        )
        due = Due(now_ms=columns.whole(found[0], "now") if found else 0)
        for row in found:
            due.add(
                columns.task_key(row),
                Status(columns.text(row, "status")),
                live=bool(row["live"]),
                overdue=bool(row["overdue"]),
                stalls=columns.whole(row, "stalls"),
            )
        return due

    async def take_due(self, due: Due, delay_ms: int) -> list[TaskKey]:
        """Postpone live tasks, take on idle ones, and return those to dispatch: another sweep may have taken some."""
        _, taken = await self._database.run(
            sql.POSTPONE.bind(task_keys=as_json(due.live)),
            sql.REDISPATCH.bind(
                task_keys=as_json(due.idle),
                delay_ms=delay_ms,
                doublings_most=limits.SWEEP_BACKOFF_DOUBLINGS_MOST,
            ),
        )
        return [columns.task_key(row) for row in taken]

    async def make_due(self, task_keys: Sequence[TaskKey]) -> None:
        """Make tasks that nobody works on due at once: whoever was to run them could not."""
        await self._database.run(sql.MAKE_DUE.bind(task_keys=as_json(task_keys)))

    async def erase_expired(self, due: Due) -> int:
        """Erase the tasks whose retention is over, and return how many were."""
        task_keys = as_json(due.past_retention)
        *_, gone = await self._database.run(
            *(part.bind(task_keys=task_keys, now_ms=due.now_ms) for part in sql.ERASE_EXPIRED)
        )
        return len(gone)
