"""Batches in D1: accepts them, reads them, and records how far their input is read.

A batch is a task whose chunks are the lines of a file, with a row in `tasks` and a row in `batches`. Its rows in the
tables of tasks are written as those of any task, and this module writes what only batches have. `batch_files` writes
their files.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from ....kernel.domain import limits
from ....kernel.domain.errors import StoreUnavailable
from ....kernel.domain.ids import FileKey, TaskKey, split_task_key
from ....kernel.domain.task import DEADLINE_EXCEEDED, NewTask, Status, Task
from ....kernel.store import admission, d1, rows, views
from ....kernel.store.admission import UNCONDITIONAL, AdmissionStore, Conditions, Mismatched, Outcome, Replayed
from ....kernel.store.d1 import BoundStatement, Row, Value, as_json, statement
from ....kernel.store.fragments import NOW, UNDER_CLAIM
from ....kernel.store.seen import LATE_MS
from ....kernel.store.views import VIEW
from ...files.file import Shelf
from ...files.store import keys_of
from ..lines import line_index
from ..lines.line_index import Portion, StoredPortion, read_ids
from ..lines.lines import BatchEndpoint, LineFault
from ..status import BatchStatus, batch_status


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch that will be written to the database.

    `task` has no text. Its deadline is the batch's completion window. `output_ms` is how long the batch's files are
    kept after its end, None if as long as the task. `input_bytes` count against the tenant's characters of the day.
    `retry_of` is the task of the batch whose lines without an answer this one makes.
    """

    task: NewTask
    endpoint: BatchEndpoint
    input_file: FileKey
    output_file: FileKey
    error_file: FileKey
    input_bytes: int
    output_ms: int | None = None
    retry_of: TaskKey | None = None


class RequestCounts(NamedTuple):
    """How many lines a batch has (0 until they are counted), and how many have an answer or have failed."""

    total: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch, as it was when the database was read. Times are milliseconds since the epoch."""

    task: Task
    endpoint: BatchEndpoint
    window_ms: int
    input_file: FileKey
    output_file: FileKey
    error_file: FileKey
    output_ms: int | None
    model: str | None = None
    # The faults of the batch's lines, each with `code`, `line`, `message` and `param`.
    errors: Sequence[Mapping[str, object]] = ()
    valid_at: int | None = None
    finalizing_at: int | None = None
    ended_at: int | None = None
    output_lines: int = 0  # until the batch has ended
    error_lines: int = 0

    @property
    def status(self) -> BatchStatus:
        """The batch's status, which follows from the status of its task and from whether its files are complete."""
        failure = self.task.failure
        return batch_status(
            self.task.status,
            is_valid=self.valid_at is not None,
            is_expired=failure is not None and failure.code == DEADLINE_EXCEEDED,
            has_ended=self.ended_at is not None,
        )

    @property
    def has_output_file(self) -> bool:
        """Whether clients can read the output file, even while the file still grows."""
        return self.valid_at is not None and (self.ended_at is None or self.output_lines > 0)

    @property
    def has_error_file(self) -> bool:
        """Whether the error file is complete. A batch without failed lines has no error file."""
        return self.ended_at is not None and self.error_lines > 0

    @property
    def counts(self) -> RequestCounts:
        """How many lines have ended. After the batch's end each is in the output file or the error file."""
        task = self.task
        if self.ended_at is not None and self.valid_at is not None:
            return RequestCounts(task.total, self.output_lines, self.error_lines)
        return RequestCounts(task.total, task.completed, task.failed)


class OutputFile(NamedTuple):
    """The output file of a batch, and where all of its parts are stored, whatever the deployment binds later."""

    key: FileKey
    shelf: Shelf


class BatchWork(NamedTuple):
    """What a worker must know of its batch besides the claim. `output_place` is None before the file begins."""

    endpoint: BatchEndpoint
    input_file: FileKey
    output_file: FileKey
    model: str | None
    read_bytes: int
    read_lines: int
    errors: Sequence[Mapping[str, object]]
    output_place: Shelf | None


class SegmentSize(NamedTuple):
    """A segment that is no object yet. `chars` are the characters of its lines, which are ASCII."""

    part: int
    chars: int


class SegmentLines(NamedTuple):
    """The lengths of a segment's lines, in order. `in_file` says that they have become an object in the bucket."""

    part: int
    in_file: bool
    sizes: tuple[int, ...]


class Writing(NamedTuple):
    """A batch that the writer named `writer` has taken in order to complete the batch's files.

    `answered` are the ranges of places whose lines have an output. `total` is 0 if the lines were never counted.
    `waited_ms` is how long ago the first writer took the batch. `output_place` and `error_place` are where the parts of
    the files are stored, None for a file that has not begun.
    """

    task_key: TaskKey
    fence: int
    writer: str
    input_file: FileKey
    output_file: FileKey
    error_file: FileKey
    output_ms: int | None
    is_valid: bool
    written_places: int
    status: Status
    expired: bool
    total: int
    answered: Sequence[range]
    waited_ms: int
    output_place: Shelf | None
    error_place: Shelf | None


def batch(row: Row, of: Task) -> Batch:
    """Read a batch from its database row."""
    return Batch(
        task=of,
        endpoint=_endpoint(row),
        window_ms=d1.whole(row, "window_ms"),
        input_file=FileKey(d1.text(row, "input_file")),
        output_file=FileKey(d1.text(row, "output_file")),
        error_file=FileKey(d1.text(row, "error_file")),
        output_ms=d1.maybe_whole(row, "output_ms"),
        model=d1.maybe_text(row, "model"),
        errors=json.loads(d1.text(row, "errors")),
        valid_at=d1.maybe_whole(row, "valid_at"),
        finalizing_at=d1.maybe_whole(row, "finalizing_at"),
        ended_at=d1.maybe_whole(row, "ended_at"),
        output_lines=d1.whole(row, "output_lines"),
        error_lines=d1.whole(row, "error_lines"),
    )


def work(row: Row) -> BatchWork:
    """Read what a worker needs to know of its batch."""
    return BatchWork(
        endpoint=_endpoint(row),
        input_file=FileKey(d1.text(row, "input_file")),
        output_file=FileKey(d1.text(row, "output_file")),
        model=d1.maybe_text(row, "model"),
        read_bytes=d1.whole(row, "read_bytes"),
        read_lines=d1.whole(row, "read_lines"),
        errors=json.loads(d1.text(row, "errors")),
        output_place=_place(row, "output_place"),
    )


def segment_sizes(found: Sequence[Row]) -> list[SegmentSize]:
    """Read the segments of a batch that have not become objects in the bucket."""
    return [SegmentSize(d1.whole(row, "part"), sum(sizes_of(row))) for row in found]


def writing(row: Row, task: Row, answered: Sequence[Row]) -> Writing:
    """Read a batch that a writer has just taken."""
    return Writing(
        task_key=d1.task_key(row, "task_id"),
        fence=d1.whole(row, "writer_fence"),
        writer=d1.text(row, "writer"),
        input_file=FileKey(d1.text(row, "input_file")),
        output_file=FileKey(d1.text(row, "output_file")),
        error_file=FileKey(d1.text(row, "error_file")),
        output_ms=d1.maybe_whole(row, "output_ms"),
        is_valid=row["valid_at"] is not None,
        written_places=d1.whole(row, "written_places"),
        status=Status(d1.text(task, "status")),
        expired=task["error_code"] == DEADLINE_EXCEEDED,
        total=d1.whole(task, "total"),
        answered=answered_ranges(answered),
        waited_ms=d1.whole(row, "waited_ms"),
        output_place=_place(row, "output_place"),
        error_place=_place(row, "error_place"),
    )


def answered_ranges(found: Sequence[Row]) -> list[range]:
    """Find out from the places in segments which lines have an output, as ranges of neighbouring lines, in order."""
    ranges: list[range] = []
    for place in sorted({int(place) for row in found for place in d1.text(row, "places").split(",")}):
        if ranges and ranges[-1].stop == place:
            ranges[-1] = range(ranges[-1].start, place + 1)
        else:
            ranges.append(range(place, place + 1))
    return ranges


def sizes_of(row: Row) -> tuple[int, ...]:
    """Read the lengths of a segment's lines."""
    return tuple(map(int, d1.text(row, "sizes").split(",")))


def _bytes(row: Row, name: str) -> bytes:
    return bytes.fromhex(d1.text(row, name))


def _place(row: Row, name: str) -> Shelf | None:
    return cast("Shelf | None", d1.maybe_text(row, name))


def _endpoint(row: Row) -> BatchEndpoint:
    return cast("BatchEndpoint", d1.text(row, "endpoint"))


# --- A new batch -----------------------------------------------------------------------------------------

# A condition: the file `:input_file` is complete, is for batches and has not expired.
_INPUT_READY = f"""EXISTS (SELECT 1 FROM files WHERE id = :input_file AND state = 'ready' AND purpose = 'batch'
  AND coalesce(expires_at > {NOW}, 1))"""

# Writes the task of a batch, as INSERT_TASK does, if its input is there, which `batches` keeps from then on.
INSERT_BATCH_TASK = admission.insert_task("'batch'", _INPUT_READY)

# Writes the row of a batch whose task was written in the same transaction, or before if the write is sent again.
INSERT_BATCH = statement("""
INSERT INTO batches (task_id, endpoint, window_ms, input_file, output_file, error_file, output_ms)
SELECT :task_key, :endpoint, :window_ms, :input_file, :output_file, :error_file, :output_ms
WHERE EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) ON CONFLICT DO NOTHING
""")

# Notes that a batch retries the lines without an answer of the batch with the task `:old_key`.
LINK_RETRY = statement("UPDATE tasks SET retry_of = :old_key WHERE id = :task_key")

# Says whether the task of a batch was written, and whether the input file is there.
IS_ACCEPTED = statement(f"""
SELECT EXISTS (SELECT 1 FROM tasks WHERE id = :task_key) AS accepted, {_INPUT_READY} AS has_input
""")

# --- Reads -----------------------------------------------------------------------------------------------

# Reads the row of a batch.
BATCH = statement("SELECT * FROM batches WHERE task_id = :task_key")

# Reads the row of a batch for a worker, and where the parts of its output file are stored, NULL before the file begins.
WORK = statement("""
SELECT *, (SELECT place FROM files WHERE id = output_file) AS output_place FROM batches WHERE task_id = :task_key
""")

# Read a page of the batches with keys above `:first` and below `:behind`, newest first, and their tasks' rows.
_PAGE = "batches WHERE task_id > :first AND task_id < :behind ORDER BY task_id DESC LIMIT :most"
BATCHES = statement(f"SELECT * FROM {_PAGE}")
BATCH_TASKS = statement(f"SELECT {VIEW} FROM tasks WHERE id IN (SELECT task_id FROM {_PAGE})")

# Finds the batch with the key `:rest` behind its tenant, in the list of all tenants: reads two rows a tenant.
BATCH_OF_SOME_TENANT = statement("""
WITH RECURSIVE found (tenant) AS (
  SELECT (SELECT substr(task_id, 1, instr(task_id, ':') - 1) FROM batches ORDER BY task_id LIMIT 1)
  UNION ALL
  SELECT (SELECT substr(task_id, 1, instr(task_id, ':') - 1) FROM batches WHERE task_id >= found.tenant || ';'
    ORDER BY task_id LIMIT 1)
  FROM found WHERE found.tenant IS NOT NULL
)
SELECT task_id FROM found CROSS JOIN batches ON task_id = found.tenant || :rest LIMIT 1
""")

# Reads where the lines of a batch lie in its input file.
PORTIONS = statement("""
SELECT first, lines, start, hex(spans) AS spans FROM batch_slices WHERE task_id = :task_key ORDER BY first
""")

# Reads the digests of the lines of a batch. Only the validation needs them, and they are most of a portion's bytes.
DIGESTS = statement("SELECT lines, hex(ids) AS ids FROM batch_slices WHERE task_id = :task_key ORDER BY first")

# --- The validation of the input file --------------------------------------------------------------------
# Each statement is part of a step of the worker that has the claim, and names the claim and the step. A write that is
# sent again, or that arrives after a later one, finds that the file is read farther than `:from_bytes`.

_UNDER_CLAIM = f"{UNDER_CLAIM} AND step <= :step AND status = 'processing'"
_MINE = f"EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND {_UNDER_CLAIM})"
_FROM_HERE = f"task_id = :task_key AND read_bytes = :from_bytes AND valid_at IS NULL AND {_MINE}"

# Records the lines that were read at once. Goes before READ_ON.
ADD_SLICE = statement(f"""
INSERT INTO batch_slices (task_id, first, lines, start, spans, ids)
SELECT :task_key, :first, :lines, :start, unhex(:spans), unhex(:ids)
WHERE EXISTS (SELECT 1 FROM batches WHERE {_FROM_HERE}) ON CONFLICT DO NOTHING
""")

# Records that the input file is read up to `:read_bytes`, the model of its first line, and the faults found so far, a
# JSON list. `:model` is NULL if no line was read yet.
READ_ON = statement(f"""
UPDATE batches SET read_bytes = :read_bytes, read_lines = :read_lines, model = coalesce(model, :model), errors = :errors
WHERE {_FROM_HERE}
""")

# Records that the whole file was read and that each of its `:total` lines is valid. The output file is there from now
# on, so that clients can read early results. `:shelf` is where its parts will be stored. FOUND_VALID goes last.
START_LINES = statement(f"""
UPDATE tasks SET total = :total, model = :model WHERE id = :task_key AND total = 0 AND {_UNDER_CLAIM}
""")
BEGIN_OUTPUT = statement(f"""
INSERT INTO files (id, state, purpose, filename, place, owner, created_at)
SELECT output_file, 'growing', 'batch_output', :filename, :shelf, task_id, {NOW} FROM batches
WHERE task_id = :task_key AND valid_at IS NULL AND {_MINE} ON CONFLICT DO NOTHING
""")
FOUND_VALID = statement(f"""
UPDATE batches SET valid_at = {NOW} WHERE task_id = :task_key AND valid_at IS NULL AND {_MINE}
""")

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
        outcome: Outcome | InputMissing = admission.outcome_of(task_key, on, results)
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
            BATCH.bind(task_key=task_key),
            views.TASK.bind(
                task_key=task_key,
                late_ms=LATE_MS,
                in_vain=limits.SENDS_IN_VAIN,
                queued_ms=_QUEUED_MS,
                most_ahead=limits.AHEAD_COUNTED_MOST,
            ),
        )
        return batch(found[0], rows.task(task[0])) if found and task else None

    async def batches(self, tenant: str | None, after: TaskKey | None, most: int) -> list[Batch]:
        """Read up to `most` batches of a tenant, or of all in turn, newest first, behind the batch `after`."""
        first, behind = keys_of(tenant)
        page: dict[str, Value] = {"first": first, "behind": after or behind, "most": most}
        found, tasks = await self._database.run(BATCHES.bind(**page), BATCH_TASKS.bind(**page))
        of = {task.task_key: task for task in map(rows.task, tasks)}
        made = [(row, of.get(TaskKey(str(row["task_id"])))) for row in found]
        return [batch(row, task) for row, task in made if task is not None]

    async def of_some_tenant(self, task_id: str) -> TaskKey | None:
        """Find a batch of any tenant by the id of its task."""
        (found,) = await self._database.run(BATCH_OF_SOME_TENANT.bind(rest=f":{task_id}"))
        return d1.task_key(found[0], "task_id") if found else None

    async def work(self, task_key: TaskKey) -> tuple[BatchWork, list[StoredPortion]] | None:
        """Read what the worker of a batch must know: the batch, and where its lines lie. None: it is gone."""
        found, portions = await self._database.run(WORK.bind(task_key=task_key), PORTIONS.bind(task_key=task_key))
        lines = [
            StoredPortion(d1.whole(row, "first"), d1.whole(row, "lines"), d1.whole(row, "start"), _bytes(row, "spans"))
            for row in portions
        ]
        return (work(found[0]), lines) if found else None

    async def checked(self, task_key: TaskKey) -> tuple[BatchWork, list[tuple[int, ...]]] | None:
        """Read where the validation goes on: the batch, and its lines' digests by portion. None: it is gone."""
        found, portions = await self._database.run(WORK.bind(task_key=task_key), DIGESTS.bind(task_key=task_key))
        digests = [read_ids(_bytes(row, "ids"), d1.whole(row, "lines")) for row in portions]
        return (work(found[0]), digests) if found else None


# The statements that record the validation in steps. `under` are the parameters of claim and step.


def read_on(
    under: Mapping[str, Value],
    from_bytes: int,
    *,
    read_bytes: int,
    read_lines: int,
    model: str | None,
    faults: Sequence[Mapping[str, object]],
    found: Portion | None,
) -> list[BoundStatement]:
    """Record the lines of a part of the file, read up to `read_bytes`, and all `faults` so far."""
    here: dict[str, Value] = {**under, "from_bytes": from_bytes}
    errors = as_json(list(faults))
    read = READ_ON.bind(**here, read_bytes=read_bytes, read_lines=read_lines, model=model, errors=errors)
    if found is None:
        return [read]
    spans, ids = line_index.pack(found)
    place = {"first": found.first, "lines": len(found.spans), "start": found.start}
    return [ADD_SLICE.bind(**here, **place, spans=spans.hex(), ids=ids.hex()), read]


def found_valid(
    under: Mapping[str, Value], total: int, model: str, filename: str, shelf: Shelf
) -> list[BoundStatement]:
    """Record that each of the `total` lines is valid, and begin the output file."""
    return [
        START_LINES.bind(**under, total=total, model=model),
        BEGIN_OUTPUT.bind(**under, filename=filename, shelf=shelf),
        FOUND_VALID.bind(**under),
    ]


def fault_row(fault: LineFault) -> Mapping[str, object]:
    """Return a fault of a line as its batch stores it."""
    return {"code": str(fault.code), "line": fault.line, "message": fault.message, "param": fault.param}


def file_name(task_key: TaskKey, which: Literal["output", "error"]) -> str:
    """Return the name of a batch's output file or error file."""
    digits = split_task_key(task_key)[1].replace("-", "")
    return f"batch_{digits}_{which}.jsonl"


def _submission(new: NewBatch, unclaimed_ms: int, on: Conditions) -> list[BoundStatement]:
    """Return the statements of the transaction that writes a new batch."""
    task, task_key = new.task, new.task.task_key
    assert not task.cuts, "a batch whose lines are counted before its file is read"
    assert task.options.deadline_ms is not None, "a batch without a completion window"
    submission = on.submission(task_key)
    tenant, _ = split_task_key(task_key)
    values = {**admission.task_values(task, unclaimed_ms, on, submission), "characters": new.input_bytes}
    writes = [INSERT_BATCH_TASK.bind(**values, input_file=new.input_file)]
    if on.characters_a_day_most is not None:
        count = admission.COUNT_CHARACTERS
        writes.append(count.bind(task_key=task_key, tenant=tenant, characters=new.input_bytes))
    writes += [
        admission.text_row(task, submission),
        INSERT_BATCH.bind(
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
        writes.append(LINK_RETRY.bind(task_key=task_key, old_key=new.retry_of))
    accepted = IS_ACCEPTED.bind(task_key=task_key, input_file=new.input_file)
    return [*admission.holding(task_key, on, writes), accepted]
