"""Checks the sums over ended tasks: each end of a task is in them once, with its bill, and no sum ever falls."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from simulator.campaign.subject.row_changes import InvariantBroken, Row
from src.kernel.store.d1 import statement
from src.kernel.store.tallies import MEASURES, UNCOUNTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.platform.world import World
    from src.kernel.domain.ids import TaskKey

_TOTALS = f"SELECT {', '.join(f'coalesce(sum({name}), 0)' for name in MEASURES)} FROM tallies WHERE at = 0"  # noqa: S608
_BY_STATUS = "SELECT status, sum(ended) FROM tallies WHERE at = 0 GROUP BY status"
_OPEN = statement(f"SELECT id, status, counted ->> 0 AS calls FROM tasks WHERE {UNCOUNTED}").sql  # noqa: S608
_CALLS = MEASURES.index("calls")


class Tallied:
    """The ends of one world's tasks, and the sums over them in the database."""

    def __init__(self, world: World) -> None:
        self._connection = world.database.connection
        self._ends: Counter[str] = Counter()
        self._taken_back: Counter[str] = Counter()  # By status: ended tasks withdrawn before they began.
        self._sums: tuple[int, ...] = (0,) * len(MEASURES)

    def changed(self, was: Row, row: Row) -> None:
        """Record the end of a task, if a change of its row shows one."""
        self._ends[row.status] += row.terminal and not was.terminal

    def erased(self, row: Row, *, withdrawn: bool) -> None:
        """Record the erasure of a task, before or after its end.

        The erasure of an unfinished task counts as a cancellation, unless the task is withdrawn before it began.
        """
        unbegun = withdrawn and row.started_at is None
        self._ends["cancelled"] += not row.terminal and not unbegun
        self._taken_back[row.status] += row.terminal and unbegun

    def landed(self) -> None:
        """After a write, compare the sums with those before the write and with the number of tasks that have ended."""
        sums = self._connection.execute(_TOTALS).fetchone()
        if sums == self._sums:
            return
        for name, before, after in zip(MEASURES, self._sums, sums, strict=True):
            if after < before:
                raise InvariantBroken(f"the sum of {name} fell from {before} to {after}")
        self._sums = sums
        for status, count in self._connection.execute(_BY_STATUS):
            if count > self._ends[status]:
                raise InvariantBroken(f"{count} tasks are counted as {status}, and {self._ends[status]} were")

    def check(self, rows: Mapping[TaskKey, Row], gone: Mapping[TaskKey, Row]) -> None:
        """Check that each end of a task, with the calls on its bill, is in the sums or will be after the next fold."""
        counted = Counter(dict(self._connection.execute(_BY_STATUS).fetchall()))
        calls = self._sums[_CALLS]
        for task_key, status, before in self._connection.execute(_OPEN):
            counted[status] += 1
            calls += rows[task_key].settled + rows[task_key].in_doubt - (before or 0)
        # A withdrawn task that had not begun is in the sums only if a fold came between its end and its withdrawal.
        if not self._ends - self._taken_back <= counted <= self._ends:
            raise InvariantBroken(f"counted as ended are {dict(+counted)}, and there were {dict(+self._ends)}")
        billed = sum(row.settled + row.in_doubt for row in rows.values())
        billed += sum(row.sent for row in gone.values())  # What was announced is in doubt.
        if calls != billed:
            raise InvariantBroken(f"{calls} calls are counted, and {billed} are on the bills")
