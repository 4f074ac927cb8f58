"""Polls send off an unclaimed task at most once a minute, however many clients poll."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.platform.d1 import PreparedStatement
from src.kernel.domain.ids import TaskKey
from src.kernel.store import seen, sweep

if TYPE_CHECKING:
    from sqlite3 import Connection

type Results = Sequence[Mapping[str, Any]]

NUDGES_APART_MS = 60_000
_OPEN = "SELECT 1 FROM tasks WHERE id = ? AND sent_at IS NOT NULL"


class Nudges:
    """For each task, the times when polls reserved a send of the task, by the database's clock.

    A sweep that took the task after a poll's send, and could not send it, lets a poll send it at once (MAKE_DUE).
    """

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._at: dict[TaskKey, list[int]] = defaultdict(list)

    def landed(
        self, statements: Sequence[PreparedStatement], results: Results, rows: Mapping[TaskKey, Row], now_ms: int
    ) -> None:
        """Record the sends of one batch.

        `rows` are the tasks as they were before this batch of D1. Raises InvariantBroken.
        """
        for statement, result in zip(statements, results, strict=True):
            if statement.sql == seen.NUDGE.sql and result["meta"]["changes"]:
                self._sent(TaskKey(statement.values[seen.NUDGE.parameters.index("task_key")]), rows, now_ms)
            elif statement.sql == sweep.MAKE_DUE.sql and result["meta"]["changes"]:
                for task_key in [one for one in self._at if not self._connection.execute(_OPEN, (one,)).fetchone()]:
                    del self._at[task_key]

    def _sent(self, task_key: TaskKey, rows: Mapping[TaskKey, Row], now_ms: int) -> None:
        row, before = rows[task_key], self._at[task_key]
        if row.lease_until is not None and row.lease_until > now_ms:
            raise InvariantBroken(f"{task_key}: sent off although somebody holds it")
        if before and 0 <= now_ms - before[-1] < NUDGES_APART_MS:
            raise InvariantBroken(f"{task_key}: sent off twice within {now_ms - before[-1]} ms")
        before.append(now_ms)
