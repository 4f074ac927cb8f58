"""The records of a batch: what clients see of the batch, and what its worker and its files' writer need to know."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from ...core.batches.endpoints import BatchEndpoint
from ...core.batches.line_index import StoredSlice, read_ids
from ...core.batches.status import BatchStatus, batch_status
from ...core.files import FileKey, Place
from ...core.ids import TaskKey
from ...core.states import Status
from ...core.task import DEADLINE_EXCEEDED, NewTask, Task
from ..d1.columns import maybe_text, maybe_whole, task_key, text, whole
from ..d1.database import Row


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
    """How many lines a batch has, how many of its lines have an answer, and how many have failed.

    `total` is 0 until the batch's lines are counted.
    """

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
    model: str | None
    read_bytes: int  # Up to which byte the input file has been read.
    # The faults of the batch's lines, each with `code`, `line`, `message` and `param`.
    errors: Sequence[Mapping[str, object]]
    valid_at: int | None
    finalizing_at: int | None
    ended_at: int | None
    output_lines: int  # The value is 0 until the batch has ended.
    error_lines: int

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
        """How many of the batch's lines have ended.

        After the batch's end, each line is in either the output file or the error file.
        """
        task = self.task
        if self.ended_at is not None and self.valid_at is not None:
            return RequestCounts(task.total, self.output_lines, self.error_lines)
        return RequestCounts(task.total, task.completed, task.failed)


class OutputFile(NamedTuple):
    """The output file of a batch, and where all of its parts are stored, whatever the deployment binds later."""

    key: FileKey
    place: Place


class BatchWork(NamedTuple):
    """What a worker needs to know of its batch, in addition to the claim.

    `output_place` is where the parts of the output file are stored, None before the file begins.
    """

    endpoint: BatchEndpoint
    input_file: FileKey
    output_file: FileKey
    model: str | None
    read_bytes: int
    read_lines: int
    errors: Sequence[Mapping[str, object]]
    output_place: Place | None


class SegmentSize(NamedTuple):
    """A segment of a batch whose lines have not been written to the bucket as an object yet.

    `chars` are the characters of the segment's lines, which are ASCII, and `body_bytes` the lines' compressed bytes.
    """

    part: int
    body_bytes: int
    chars: int


class SegmentLines(NamedTuple):
    """The lengths of the lines of a segment, in the order that the lines have in the output file.

    `in_file` says that the lines have become an object in the bucket.
    """

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
    endpoint: BatchEndpoint
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
    output_place: Place | None
    error_place: Place | None


def batch(row: Row, of: Task) -> Batch:
    """Read a batch from its database row."""
    return Batch(
        task=of,
        endpoint=_endpoint(row),
        window_ms=whole(row, "window_ms"),
        input_file=FileKey(text(row, "input_file")),
        output_file=FileKey(text(row, "output_file")),
        error_file=FileKey(text(row, "error_file")),
        output_ms=maybe_whole(row, "output_ms"),
        model=maybe_text(row, "model"),
        read_bytes=whole(row, "read_bytes"),
        errors=json.loads(text(row, "errors")),
        valid_at=maybe_whole(row, "valid_at"),
        finalizing_at=maybe_whole(row, "finalizing_at"),
        ended_at=maybe_whole(row, "ended_at"),
        output_lines=whole(row, "output_lines"),
        error_lines=whole(row, "error_lines"),
    )


def work(row: Row) -> BatchWork:
    """Read what a worker needs to know of its batch."""
    return BatchWork(
        endpoint=_endpoint(row),
        input_file=FileKey(text(row, "input_file")),
        output_file=FileKey(text(row, "output_file")),
        model=maybe_text(row, "model"),
        read_bytes=whole(row, "read_bytes"),
        read_lines=whole(row, "read_lines"),
        errors=json.loads(text(row, "errors")),
        output_place=_place(row, "output_place"),
    )


def slices(found: Sequence[Row]) -> list[StoredSlice]:
    """Read where each line of a batch is in the batch's input file."""
    return [
        StoredSlice(whole(row, "first"), whole(row, "lines"), whole(row, "start"), bytes.fromhex(text(row, "spans")))
        for row in found
    ]


def digests(found: Sequence[Row]) -> list[tuple[int, ...]]:
    """Read the digests of a batch's lines, slice by slice."""
    return [read_ids(bytes.fromhex(text(row, "ids")), whole(row, "lines")) for row in found]


def segment_sizes(found: Sequence[Row]) -> list[SegmentSize]:
    """Read the segments of a batch that have not become objects in the bucket."""
    return [SegmentSize(whole(row, "part"), whole(row, "bytes"), sum(_sizes(row))) for row in found]


def segment_lines(found: Sequence[Row]) -> list[SegmentLines]:
    """Read the lengths of a batch's lines."""
    return [SegmentLines(whole(row, "part"), row["object"] is not None, _sizes(row)) for row in found]


def writing(row: Row, task: Row, answered: Sequence[Row]) -> Writing:
    """Read a batch that a writer has just taken."""
    return Writing(
        task_key=task_key(row, "task_id"),
        fence=whole(row, "writer_fence"),
        writer=text(row, "writer"),
        endpoint=_endpoint(row),
        input_file=FileKey(text(row, "input_file")),
        output_file=FileKey(text(row, "output_file")),
        error_file=FileKey(text(row, "error_file")),
        output_ms=maybe_whole(row, "output_ms"),
        is_valid=row["valid_at"] is not None,
        written_places=whole(row, "written_places"),
        status=Status(text(task, "status")),
        expired=task["error_code"] == DEADLINE_EXCEEDED,
        total=whole(task, "total"),
        answered=answered_ranges(answered),
        waited_ms=whole(row, "waited_ms"),
        output_place=_place(row, "output_place"),
        error_place=_place(row, "error_place"),
    )


def answered_ranges(found: Sequence[Row]) -> list[range]:
    """Find out from the places in segments which lines have an output, as ranges of neighbouring lines, in order."""
    ranges: list[range] = []
    for place in sorted({int(place) for row in found for place in text(row, "places").split(",")}):
        if ranges and ranges[-1].stop == place:
            ranges[-1] = range(ranges[-1].start, place + 1)
        else:
            ranges.append(range(place, place + 1))
    return ranges


def _sizes(row: Row) -> tuple[int, ...]:
    return tuple(map(int, text(row, "sizes").split(",")))


def _place(row: Row, name: str) -> Place | None:
    return cast("Place | None", maybe_text(row, name))


def _endpoint(row: Row) -> BatchEndpoint:
    return cast("BatchEndpoint", text(row, "endpoint"))
