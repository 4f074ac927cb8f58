"""Progress limits writes: a task's workers may write only as much as their results and the passing time justify.

A worker that writes without a result adds load in a circle: the slower the database, the more writes it gets. So a call
that ended, or time, must account for each write under a task's claims.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.campaign.subject.row_changes import UNDER_CLAIM, InvariantBroken, Row
from simulator.platform.d1 import PreparedStatement
from src.core.ids import TaskKey
from src.store.sql import work

WRITES_PER_CALL = 2
WRITES_PER_MINUTE = 2
WRITES_PER_DEATH = 2  # The writes of a claim that takes over from a dead worker, and of its renewed announcements.
WRITES_SPARE = 16  # The writes of claims and their ends, in a run with all faults.
_BY_WORKERS = (*UNDER_CLAIM, "CLAIM")


def worked_on(statements: Sequence[PreparedStatement], results: Sequence[dict[str, Any]]) -> dict[TaskKey, str]:
    """Return the tasks on which a worker wrote with one call to D1, each with what identifies the write.

    A claim is identified by its holder, and a write under it by fence and step. A twin is a repetition of a write: its
    answer was lost and it was sent again, or it landed after that.
    """
    parameters = {getattr(work, name).sql: getattr(work, name).parameters for name in _BY_WORKERS}
    found: dict[TaskKey, str] = {}
    for statement, result in zip(statements, results, strict=True):
        if statement.sql in parameters and result["meta"]["changes"]:
            values = dict(zip(parameters[statement.sql], statement.values, strict=True))
            found[values["task_key"]] = f"{values.get('holder')}/{values.get('fence')}/{values.get('step')}"
    return found


@dataclass(slots=True)
class _Account:
    at_seconds: float = 0.0
    spare: float = 0.0  # The number of writes that neither calls nor time account for.
    since_seconds: float = 0.0  # The time when all writes were accounted for.
    writes: int = 0  # The number of writes since then.
    calls: int = 0
    known: dict[str, int] = field(default_factory=dict)  # how often each write has landed


class WriteBudget:
    """Counts the writes under each task's claims, as D1 calls, against its calls that ended and the time.

    Over any period there may be at most `WRITES_PER_CALL` a call, `WRITES_PER_MINUTE` a minute, and `spare_most`. Each
    worker that died on the task allows `WRITES_PER_DEATH` more, up to the number of deaths that ends the task. The
    first twin of a write does not count, because the database lost an answer; later twins count. `spare` is the most
    unaccounted writes that any task has had so far.
    """

    def __init__(self, spare_most: float = WRITES_SPARE) -> None:
        self.spare = 0.0
        self.writes = 0
        self._spare_most = spare_most
        self._accounts: dict[TaskKey, _Account] = defaultdict(_Account)

    def changed(self, was: Row, row: Row) -> None:
        """Record the calls that a write records as ended, and a client's retry, which begins the task anew."""
        account = self._accounts[row.task_key]
        if was.terminal and not row.terminal:
            account.spare = 0.0
        if row.fence > was.fence and was.status == row.status == "processing":
            account.spare -= WRITES_PER_DEATH
        elif row.fence == was.fence:  # a claim puts calls in doubt, and ends none
            ended = max(0, row.settled + row.in_doubt - was.settled - was.in_doubt)
            account.calls += ended
            account.spare -= WRITES_PER_CALL * ended

    def wrote(self, task_key: TaskKey, now_seconds: float, write: str = "") -> None:
        """Count one call to D1 that wrote under a claim of the task. Raises InvariantBroken.

        `write` identifies the write and its repetitions. If `write` is empty, the check does not recognise repetitions
        of the write.
        """
        account = self._accounts[task_key]
        if write:
            account.known[write] = account.known.get(write, 0) + 1
            if account.known[write] == 2:
                return
        account.spare -= WRITES_PER_MINUTE * (now_seconds - account.at_seconds) / 60
        account.at_seconds = now_seconds
        if account.spare <= 0:
            account.spare, account.since_seconds, account.writes, account.calls = 0.0, now_seconds, 0, 0
        account.spare += 1
        account.writes += 1
        self.writes += 1
        self.spare = max(self.spare, account.spare)
        if account.spare > self._spare_most:
            raise InvariantBroken(
                f"{task_key}: no progress: {account.writes} writes under its claims in"
                f" {now_seconds - account.since_seconds:.0f} s, and {account.calls} calls ended"
            )
