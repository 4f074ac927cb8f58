"""Checks that a task's workers write only as much as their ended model calls and the passing time justify.

If workers wrote without results, a slow database would get more writes and become slower. Each write under a task's
claims must therefore be accounted for by a model call that ended, or by time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator.campaign.subject.row_changes import UNDER_CLAIM, InvariantBroken, Row
from simulator.platform.d1 import PreparedStatement
from src.core.ids import TaskKey
from src.store.sql import batch_files, batches, file_texts, work

WRITES_PER_CALL = 2
WRITES_PER_MINUTE = 2
WRITES_PER_DEATH = 2  # The write of the claim that takes over from a dead worker, and the write of its announcements.
WRITES_SPARE = 16  # The writes that neither calls nor time must account for: those of claims and of their ends.
_BY_WORKERS = (*UNDER_CLAIM, "CLAIM")
# Writes that move bytes: each records a slice of a file, or an object of lines.
_BY_BYTES = frozenset({batches.READ_ON.sql, batches.FOUND_VALID.sql, batch_files.GROW[-1].sql, file_texts.CUT_ON.sql})


def worked_on(
    statements: Sequence[PreparedStatement],
    results: Sequence[dict[str, Any]],
    parameters: Mapping[str, tuple[str, ...]],
) -> dict[TaskKey, str]:
    """Return the tasks under whose claims one call to D1 wrote, each with a text that identifies the write.

    The write of a claim is identified by its holder, and a write under a claim by fence and step. A twin is a
    repetition of a write: the worker sent the write again because its answer was lost, or the first send landed late.
    `parameters` are `WriteBudget.parameters`.
    """
    found: dict[TaskKey, str] = {}
    if any(statement.sql in _BY_BYTES for statement in statements):
        return found
    for statement, result in zip(statements, results, strict=True):
        if statement.sql in parameters and result["meta"]["changes"]:
            values = dict(zip(parameters[statement.sql], statement.values, strict=True))
            found[values["task_key"]] = f"{values.get('holder')}/{values.get('fence')}/{values.get('step')}"
    return found


@dataclass(slots=True)
class _Account:
    at_seconds: float = 0.0
    spare: float = 0.0  # The number of writes so far that neither calls nor time account for.
    since_seconds: float = 0.0  # When all writes were last accounted for (virtual seconds).
    writes: int = 0  # The number of a task's writes since `since_seconds`.
    calls: int = 0
    known: dict[str, int] = field(default_factory=dict)  # By the identity of a write: how often the write has landed.


class WriteBudget:
    """Counts the D1 calls that write under each task's claims, and compares them with ended model calls and time.

    In any period a task may have at most `WRITES_PER_CALL` writes for each ended call, `WRITES_PER_MINUTE` writes for
    each minute, and `spare_most` further writes. Each worker that died on the task allows `WRITES_PER_DEATH` more. The
    first twin of a write does not count, because the database lost an answer; later twins count. `spare` is the highest
    number of unaccounted writes that any task has had so far.
    """

    def __init__(self, spare_most: float = WRITES_SPARE) -> None:
        # The parameters of each statement that workers write with, as ablations have left it.
        self.parameters = {getattr(work, name).sql: getattr(work, name).parameters for name in _BY_WORKERS}
        self.spare = 0.0
        self.writes = 0
        self._spare_most = spare_most
        self._accounts: dict[TaskKey, _Account] = defaultdict(_Account)

    def changed(self, was: Row, row: Row) -> None:
        """Record what a change of a row shows: calls that ended, a worker's death, or a client's retry of the task."""
        account = self._accounts[row.task_key]
        if was.terminal and not row.terminal:
            account.spare = 0.0
        if row.fence > was.fence and was.status == row.status == "processing":
            account.spare -= WRITES_PER_DEATH
        elif row.fence == was.fence:  # A new claim ends no call: it only puts calls in doubt.
            ended = max(0, row.settled + row.in_doubt - was.settled - was.in_doubt)
            account.calls += ended
            account.spare -= WRITES_PER_CALL * ended

    def wrote(self, task_key: TaskKey, now_seconds: float, write: str = "") -> None:
        """Count one call to D1 that wrote under a claim of the task. Raises InvariantBroken.

        `write` is the identity that a write and its repetitions share. If `write` is empty, a repetition counts as a
        write of its own.
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
