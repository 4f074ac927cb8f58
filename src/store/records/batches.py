"""The records of a batch: what clients see of it, and what its worker and the writer of its files must know."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from ...core.batches.endpoints import BatchEndpoint
from ...core.batches.line_index import StoredSlice, read_ids
from ...core.batches.status import BatchStatus, batch_status
from ...core.files import FileKey
from ...core.ids import TaskKey
from ...core.states import Status
from ...core.task import DEADLINE_EXCEEDED, NewTask, Task
from ..d1.columns import maybe_text, maybe_whole, task_key, text, whole
from ..d1.database import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch that is about to be written to the database.

    `task` has no text. Its deadline is the batch's completion window. `output_ms` is how long the batch's files are
    kept after its end, None if as long as the task. `input_bytes` count against the tenant's characters of the day.
    """

    task: NewTask
    endpoint: BatchEndpoint
    input_file: FileKey
    output_file: FileKey
    error_file: FileKey
    input_bytes: int
    output_ms: int | None = None


class RequestCounts(NamedTuple):
    """How many lines a batch has, and how many have an answer or have failed. `total` is 0 until they are counted."""

    total: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch, as one read of the database found it. Times are milliseconds since the epoch."""

    task: Task
    endpoint: BatchEndpoint
    window_ms: int
    input_file: FileKey
    output_file: FileKey
    error_file: FileKey
    output_ms: int | None
    model: str | None
    read_bytes: int  # How far the input file is read.
    errors: Sequence[Mapping[str, object]]  # The faults of lines: `code`, `line`, `message` and `param`.
    valid_at: int | None
    finalizing_at: int | None
    ended_at: int | None
    output_lines: int  # 0 until the batch has ended.
    error_lines: int

    @property
    def status(self) -> BatchStatus:
        """The batch's state, which follows from its task and from whether its files are complete."""
        failure = self.task.failure
        return batch_status(
            self.task.status,
            is_valid=self.valid_at is not None,
            is_expired=failure is not None and failure.code == DEADLINE_EXCEEDED,
            has_ended=self.ended_at is not None,
        )

    @property
    def has_output_file(self) -> bool:
        """Whether the output file can be read, also while it still grows."""
        return self.valid_at is not None and (self.ended_at is None or self.output_lines > 0)

    @property
    def has_error_file(self) -> bool:
        """Whether the error file is complete. A batch without failed lines has none."""
        return self.ended_at is not None and self.error_lines > 0

    @property
    def counts(self) -> RequestCounts:
        """How many of the batch's lines have ended. After the end, each line is in one of the two files."""
        task = self.task
        if self.ended_at is not None and self.valid_at is not None:
            return RequestCounts(task.total, self.output_lines, self.error_lines)
        return RequestCounts(task.total, task.completed, task.failed)


class BatchWork(NamedTuple):
    """What a worker must know of its batch, besides the claim."""

    endpoint: BatchEndpoint
    input_file: FileKey
    output_file: FileKey
    model: str | None
    read_bytes: int
    read_lines: int
    errors: Sequence[Mapping[str, object]]


class SegmentSize(NamedTuple):
    """A segment of a batch whose lines have not become an object.

    `chars` are the characters of its lines, which are ASCII, and `body_bytes` their compressed bytes.
    """

    part: int
    body_bytes: int
    chars: int


class SegmentLines(NamedTuple):
    """The lengths of the lines of a segment in the order of the output file. `in_file`: they have become an object."""

    part: int
    in_file: bool
    sizes: tuple[int, ...]


class Writing(NamedTuple):
    """A batch that a writer has taken, to complete its files.

    `answered` are the ranges of places whose lines have an output. `total` is 0 if the lines were never counted.
    """

    task_key: TaskKey
    fence: int
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


def batch(row: Row, of: Task) -> Batch:
    """Read a batch from its row."""
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
    """Read what a worker must know of its batch."""
    return BatchWork(
        endpoint=_endpoint(row),
        input_file=FileKey(text(row, "input_file")),
        output_file=FileKey(text(row, "output_file")),
        model=maybe_text(row, "model"),
        read_bytes=whole(row, "read_bytes"),
        read_lines=whole(row, "read_lines"),
        errors=json.loads(text(row, "errors")),
    )


def slices(found: Sequence[Row]) -> list[StoredSlice]:
    """Read where the lines of a batch lie in its input file."""
    return [
        StoredSlice(whole(row, "first"), whole(row, "lines"), whole(row, "start"), bytes.fromhex(text(row, "spans")))
        for row in found
    ]


def digests(found: Sequence[Row]) -> list[tuple[int, ...]]:
    """Read the digests of a batch's lines, slice by slice."""
    return [read_ids(bytes.fromhex(text(row, "ids")), whole(row, "lines")) for row in found]


def segment_sizes(found: Sequence[Row]) -> list[SegmentSize]:
    """Read the segments that have not become objects."""
    return [SegmentSize(whole(row, "part"), whole(row, "bytes"), sum(_sizes(row))) for row in found]


def segment_lines(found: Sequence[Row]) -> list[SegmentLines]:
    """Read the lengths of a batch's lines."""
    return [SegmentLines(whole(row, "part"), row["object"] is not None, _sizes(row)) for row in found]


def writing(row: Row, task: Row, answered: Sequence[Row]) -> Writing:
    """Read a batch that a writer has just taken."""
    return Writing(
        task_key=task_key(row, "task_id"),
        fence=whole(row, "writer_fence"),
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
    )


def answered_ranges(found: Sequence[Row]) -> list[range]:
    """Read from the places of segments which lines have an output, as ranges of neighbours in order."""
    ranges: list[range] = []
    for place in sorted({int(place) for row in found for place in text(row, "places").split(",")}):
        if ranges and ranges[-1].stop == place:
            ranges[-1] = range(ranges[-1].start, place + 1)
        else:
            ranges.append(range(place, place + 1))
    return ranges


def _sizes(row: Row) -> tuple[int, ...]:
    return tuple(map(int, text(row, "sizes").split(",")))


def _endpoint(row: Row) -> BatchEndpoint:
    return cast("BatchEndpoint", text(row, "endpoint"))
