"""Checks that a task's workers write only as much as their work and the passing time justify.

If workers wrote without results, a slow database would get more writes and become slower. Each write under a task's
claims must therefore be accounted for by a model call that ended, by a slice of a file that was read, or by time.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, NamedTuple

from simulator.campaign.subject import featured
from simulator.campaign.subject.row_changes import UNDER_CLAIM, InvariantBroken, Row
from simulator.platform.d1 import PreparedStatement
from src.kernel.domain.ids import TaskKey
from src.kernel.store import work_statements

WRITES_PER_CALL = 2
WRITES_PER_MINUTE = 2
WRITES_PER_DEATH = 2  # The write of the claim that takes over from a dead worker, and the write of its announcements.
WRITES_PER_CALLING_CLAIM = 1  # The write of a claim under which a call ended.
WRITES_PER_READING_CLAIM = 2  # The writes of a claim under which a slice of a file was recorded, and of its end.
WRITES_SPARE = 16  # The writes that nothing must account for: those of other claims and of their ends.
_BY_WORKERS = (*UNDER_CLAIM, "CLAIM")
# Writes that move bytes: each records a slice of a file, or an object of lines.
_BY_BYTES: set[str] = set()
# The writes of `_BY_BYTES` that record a slice of a file, each with its parameter that says how far the file is read.
_SLICES: list[tuple[ModuleType, str, str]] = []
if "batches" in featured.NAMES:
    from src.features.batches.store import batch_files, batches

    _BY_BYTES |= {batches.READ_ON.sql, batches.FOUND_VALID.sql, batch_files.GROW[-1].sql}
    _SLICES.append((batches, "READ_ON", "read_bytes"))
if "texts" in featured.NAMES:
    from src.features.texts import store as file_texts

    _BY_BYTES.add(file_texts.CUT_ON.sql)
    _SLICES.append((file_texts, "CUT_ON", "cut_bytes"))


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


class FileSlice(NamedTuple):
    """A slice of a file that was recorded under a task's claim."""

    task_key: TaskKey
    fence: int
    bytes_read: int  # How many bytes of the file have been read, this slice included.


def slices_recorded(
    statements: Sequence[PreparedStatement],
    results: Sequence[dict[str, Any]],
    parameters: Mapping[str, tuple[tuple[str, ...], str]],
) -> Iterator[FileSlice]:
    """Yield the slices of files that one call to D1 recorded.

    `parameters` are `WriteBudget.slice_parameters`.
    """
    for statement, result in zip(statements, results, strict=True):
        if statement.sql in parameters and result["meta"]["changes"]:
            names, bytes_read = parameters[statement.sql]
            values = dict(zip(names, statement.values, strict=True))
            yield FileSlice(values["task_key"], int(values["fence"]), int(values[bytes_read]))


@dataclass(slots=True)
class _Account:
    at_seconds: float = 0.0
    spare: float = 0.0  # The number of writes so far that neither calls nor time account for.
    since_seconds: float = 0.0  # When all writes were last accounted for (virtual seconds).
    writes: int = 0  # The number of a task's writes since `since_seconds`.
    calls: int = 0
    calling: int = 0  # The fence of the latest claim under which a call ended.
    reading: int = 0  # The fence of the latest claim under which a slice of a file was recorded.
    bytes_read: int = 0
    known: dict[str, int] = field(default_factory=dict)  # By the identity of a write: how often the write has landed.


class WriteBudget:
    """Counts the D1 calls that write under each task's claims, and compares them with ended model calls and time.

    In any period a task may have at most `WRITES_PER_CALL` writes for each ended call, `WRITES_PER_MINUTE` writes for
    each minute, and `spare_most` further writes. Each worker that died on the task allows `WRITES_PER_DEATH` more. The
    first twin of a write does not count, because the database lost an answer; later twins count. `spare` is the highest
    number of unaccounted writes that any task has had so far.

    `short_runs` says that a run may have only one call or slice, as in schedules. With their small limits a run may end
    before the pause after a failed call is over, or, with a slow database, after one slice of a file. While the model
    is away, a run on the queue gives its task back for each pause of more than two seconds (decision 0042). So each
    claim under which a call ended allows `WRITES_PER_CALLING_CLAIM` more, and each claim under which a file was read on
    allows `WRITES_PER_READING_CLAIM` more, however many calls or slices it had.
    """

    def __init__(self, spare_most: float = WRITES_SPARE, *, short_runs: bool = False) -> None:
        # The parameters of each statement that workers write with, as ablations have left it.
        self.parameters = {
            getattr(work_statements, name).sql: getattr(work_statements, name).parameters for name in _BY_WORKERS
        }
        self.spare = 0.0
        self.writes = 0
        self.slice_parameters = {
            getattr(module, name).sql: (getattr(module, name).parameters, bytes_read)
            for module, name, bytes_read in _SLICES
        }
        self._spare_most = spare_most
        self._short_runs = short_runs
        self._accounts: dict[TaskKey, _Account] = defaultdict(_Account)

    def changed(self, was: Row, row: Row) -> None:
        """Record what a change of a row shows: calls that ended, a worker's death, or a client's retry of the task."""
        account = self._accounts[row.task_key]
        if was.terminal and not row.terminal:
            account.spare, account.bytes_read = 0.0, 0
        if row.fence > was.fence and was.status == row.status == "processing":
            account.spare -= WRITES_PER_DEATH
        elif row.fence == was.fence:  # A new claim ends no call: it only puts calls in doubt.
            ended = max(0, row.settled + row.in_doubt - was.settled - was.in_doubt)
            account.calls += ended
            account.spare -= WRITES_PER_CALL * ended
            if self._short_runs and ended and account.calling != row.fence:
                account.calling = row.fence
                account.spare -= WRITES_PER_CALLING_CLAIM

    def landed(
        self, statements: Sequence[PreparedStatement], results: Sequence[dict[str, Any]], now_seconds: float
    ) -> None:
        """Record the slices and count the writes of one call to D1, as a write of each task under whose claim it wrote.

        `changed` must have had the changes of rows before. Raises InvariantBroken.
        """
        for one in slices_recorded(statements, results, self.slice_parameters):
            self.read(one)
        for task_key, write in worked_on(statements, results, self.parameters).items():
            self.wrote(task_key, now_seconds, write)

    def read(self, one: FileSlice) -> None:
        """Record a slice of a file. A slice that was recorded before accounts for nothing."""
        account = self._accounts[one.task_key]
        if self._short_runs and one.bytes_read > account.bytes_read and account.reading != one.fence:
            account.reading = one.fence
            account.spare -= WRITES_PER_READING_CLAIM
        account.bytes_read = max(account.bytes_read, one.bytes_read)

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
