"""Reads and writes batches: accepts them, reads them, and records how far their input is read.

A batch is a task whose chunks are the lines of a file. Its rows in the tables of tasks are written as those of any
task, and this module writes what only batches have. `store.batch_files` writes their files.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core import limits
from ..core.batches import line_index
from ..core.batches.line_index import Slice, StoredSlice
from ..core.batches.lines import LineFault
from ..core.errors import StoreUnavailable
from ..core.files import FileKey, Place
from ..core.ids import TaskKey, split_task_key
from .admission import (
    UNCONDITIONAL,
    AdmissionStore,
    Conditions,
    Mismatched,
    Outcome,
    Replayed,
    holding,
    outcome_of,
    task_values,
    text_row,
)
from .d1 import columns
from .d1.statement import BoundStatement, Value, as_json
from .records import batches as records
from .records import rows
from .records.batches import Batch, BatchWork, NewBatch
from .records.files import keys_of
from .seen import LATE_MS
from .sql import admission as admission_sql
from .sql import batches as sql
from .sql import views as views_sql

_QUEUED_MS = round(limits.AHEAD_COUNTED_SECONDS * 1000)


@dataclass(frozen=True, slots=True)
class InputMissing:
    """A batch was not accepted, because its input file is gone, has expired, or is not for batches."""


class BatchStore(AdmissionStore):
    """Reads and writes the rows of batches. Each method is one call to D1, unless it says otherwise."""

    async def submit(self, new: NewBatch, unclaimed_ms: int, on: Conditions = UNCONDITIONAL) -> Outcome | InputMissing:
        """Write a new batch with its task, if the conditions `on` are met and its input file is there.

        From the write on the input file is in use, so it is not erased before the batch has ended. See
        `AdmissionStore.insert` for what is the same with any task.
        """
        task_key = new.task.task_key
        *results, (facts,) = await self._database.run(*_submission(new, unclaimed_ms, on))
        outcome: Outcome | InputMissing = outcome_of(task_key, on, results)
        if not facts["accepted"] and not facts["has_input"] and not isinstance(outcome, Replayed | Mismatched):
            outcome = InputMissing()
        if not facts["accepted"] and self._database.sends > 1:
            try:
                await self.withdraw(new.task, on, characters=new.input_bytes)
            except StoreUnavailable as error:
                error.withdrawing = True
                raise
        return outcome

    async def batch(self, task_key: TaskKey) -> Batch | None:
        """Read a batch. Returns None if there is no such batch."""
        found, task = await self._database.run(
            sql.BATCH.bind(task_key=task_key),
            views_sql.TASK.bind(
                task_key=task_key,
                late_ms=LATE_MS,
                in_vain=limits.SENDS_IN_VAIN,
                queued_ms=_QUEUED_MS,
                most_ahead=limits.AHEAD_COUNTED_MOST,
            ),
        )
        return records.batch(found[0], rows.task(task[0])) if found and task else None

    async def batches(self, tenant: str | None, after: TaskKey | None, most: int) -> list[Batch]:
        """Read up to `most` batches of a tenant, newest first, those that are older than the batch `after`.

        Without a tenant the batches of all tenants are read, one tenant after the other, behind `after` in that order.
        """
        first, behind = keys_of(tenant)
        page: dict[str, Value] = {"first": first, "behind": after or behind, "most": most}
        found, tasks = await self._database.run(sql.BATCHES.bind(**page), sql.BATCH_TASKS.bind(**page))
        of = {task.task_key: task for task in map(rows.task, tasks)}
        made = [(row, of.get(TaskKey(str(row["task_id"])))) for row in found]
        return [records.batch(row, task) for row, task in made if task is not None]

    async def of_some_tenant(self, task_id: str) -> TaskKey | None:
        """Find a batch of any tenant by the id of its task."""
        (found,) = await self._database.run(sql.BATCH_OF_SOME_TENANT.bind(rest=f":{task_id}"))
        return columns.task_key(found[0], "task_id") if found else None

    async def work(self, task_key: TaskKey) -> tuple[BatchWork, list[StoredSlice]] | None:
        """Read what the worker of a batch must know: the batch, and where its lines lie. None: it is gone."""
        found, slices = await self._database.run(sql.WORK.bind(task_key=task_key), sql.SPANS.bind(task_key=task_key))
        return (records.work(found[0]), records.slices(slices)) if found else None

    async def checked(self, task_key: TaskKey) -> tuple[BatchWork, list[tuple[int, ...]]] | None:
        """Read what the validation of a batch goes on from: the batch, and the digests of its lines so far, slice by
        slice. None: the batch is gone.
        """
        found, slices = await self._database.run(sql.WORK.bind(task_key=task_key), sql.DIGESTS.bind(task_key=task_key))
        return (records.work(found[0]), records.digests(slices)) if found else None


class ValidationStatements:
    """Makes the statements with which the worker of a batch records the validation, as parts of its steps.

    `under` are the parameters that name the claim and the step.
    """

    def __init__(self, under: Mapping[str, Value]) -> None:
        self._under = dict(under)

    def read_on(
        self,
        from_bytes: int,
        *,
        read_bytes: int,
        read_lines: int,
        model: str | None,
        faults: Sequence[Mapping[str, object]],
        found: Slice | None,
    ) -> list[BoundStatement]:
        """Record the lines of a part of the file, and that it is read up to `read_bytes`.

        `faults` are all that were found so far.
        """
        here: dict[str, Value] = {**self._under, "from_bytes": from_bytes}
        batch: list[BoundStatement] = []
        if found is not None:
            spans, ids = line_index.pack(found)
            batch.append(
                sql.ADD_SLICE.bind(
                    **here,
                    first=found.first,
                    lines=len(found.spans),
                    start=found.start,
                    spans=spans.hex(),
                    ids=ids.hex(),
                )
            )
        batch.append(
            sql.READ_ON.bind(
                **here, read_bytes=read_bytes, read_lines=read_lines, model=model, errors=as_json(list(faults))
            )
        )
        return batch

    def found_valid(self, total: int, model: str, filename: str, place: Place) -> list[BoundStatement]:
        """Record that each of the `total` lines is valid, and begin the output file."""
        return [
            sql.START_LINES.bind(**self._under, total=total, model=model),
            sql.BEGIN_OUTPUT.bind(**self._under, filename=filename, place=place),
            sql.FOUND_VALID.bind(**self._under),
        ]


def fault_row(fault: LineFault) -> Mapping[str, object]:
    """Return a fault of a line as its batch stores it."""
    return {"code": str(fault.code), "line": fault.line, "message": fault.message, "param": fault.param}


def batch_digits(task_key: TaskKey) -> str:
    """Return the digits of a batch's id, which are also in the names of its files."""
    return split_task_key(task_key)[1].replace("-", "")


def output_filename(task_key: TaskKey) -> str:
    """Return the name of a batch's output file."""
    return f"batch_{batch_digits(task_key)}_output.jsonl"


def error_filename(task_key: TaskKey) -> str:
    """Return the name of a batch's error file."""
    return f"batch_{batch_digits(task_key)}_error.jsonl"


def tenant_of(file: FileKey) -> str:
    """Return the tenant of a file."""
    return file.partition(":")[0]


def _submission(new: NewBatch, unclaimed_ms: int, on: Conditions) -> list[BoundStatement]:
    """Return the statements of the transaction that writes a new batch."""
    task, task_key = new.task, new.task.task_key
    assert not task.cuts, "a batch whose lines are counted before its file is read"
    assert task.options.deadline_ms is not None, "a batch without a completion window"
    submission = on.submission(task_key)
    tenant, _ = split_task_key(task_key)
    values = {**task_values(task, unclaimed_ms, on, submission), "characters": new.input_bytes}
    writes = [sql.INSERT_BATCH_TASK.bind(**values, input_file=new.input_file)]
    if on.characters_a_day_most is not None:
        count = admission_sql.COUNT_CHARACTERS
        writes.append(count.bind(task_key=task_key, tenant=tenant, characters=new.input_bytes))
    writes += [
        text_row(task, submission),
        sql.INSERT_BATCH.bind(
            task_key=task_key,
            endpoint=new.endpoint,
            window_ms=task.options.deadline_ms,
            input_file=new.input_file,
            output_file=new.output_file,
            error_file=new.error_file,
            output_ms=new.output_ms,
        ),
    ]
    if new.retry_of is not None:
        writes.append(sql.LINK_RETRY.bind(task_key=task_key, old_key=new.retry_of))
    accepted = sql.IS_ACCEPTED.bind(task_key=task_key, input_file=new.input_file)
    return [*holding(task_key, on, writes), accepted]
