"""The API's views of finished chunks."""

from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import Field

from ...core import limits
from ...core import task as core
from ..base.views import Count, FailureView, Time, failure_view, maybe_rfc3339, shown


@shown
class FaultView(TypedDict):
    """What is wrong with an output.

    `pointer` is a JSON pointer to the place, which is an empty text for the root. `expected` says what should be there.
    """

    pointer: str
    expected: str


@shown
class RejectedView(TypedDict):
    """The last answer for a failed chunk, which did not fit the task's schema, and the first of the answer's faults."""

    output: Annotated[str, Field(max_length=limits.REJECTED_CHARS_MOST)]
    errors: Annotated[list[FaultView], Field(max_length=limits.FAULTS_MOST)]


@shown
class ChunkView(TypedDict):
    """A finished chunk: its span of `input`, in code points, and its output or failure. A `gap` is a failed chunk, too.

    `finishReason` is why the chunk's output ends: `stop`, `length` (it was cut off), `content_filter`, or the
    provider's own word. `startedAt` and `finishedAt` are when the call that gave the output was sent and answered; if a
    lane made the call in a group, they are the times of the group. `firstStartedAt` is when the chunk's first call was
    sent. Between `firstStartedAt` and `startedAt` earlier calls failed, and the chunk waited for the next one. `lane`
    is the number of the lane that made the call, null if the task's own worker made it. Each of these fields is null if
    its value is unknown, and for a failed chunk. `firstStartedAt` is also null if an earlier worker made the first
    call. `rejected` is set if an output did not fit the task's schema.
    """

    index: Count
    start: Count
    end: Annotated[int, Field(ge=1)]
    status: Literal["completed", "failed", "gap"]
    output: str | None
    attempts: Count
    error: FailureView | None
    finishReason: str | None
    startedAt: Time | None
    finishedAt: Time | None
    firstStartedAt: Time | None
    lane: Annotated[int, Field(ge=1)] | None
    rejected: NotRequired[RejectedView]


@shown
class ChunkListView(TypedDict):
    """The finished chunks in order. Long outputs shorten a page. `nextCursor` is null if no other chunk is finished.

    A batch has no chunks here: its outputs are the lines of `outputFile`, a file of `/v1/files`, which also has the
    lines so far. `outputFile` is set for batches alone, and null while or if there is no such file.
    """

    chunks: list[ChunkView]
    nextCursor: str | None
    outputFile: NotRequired[str | None]


def chunk_view(chunk: core.FinishedChunk) -> ChunkView:
    """Show a finished chunk."""
    view = ChunkView(
        index=chunk.index,
        start=chunk.start,
        end=chunk.end,
        status=_status(chunk),
        output=chunk.output,
        attempts=chunk.attempts,
        error=failure_view(chunk.failure),
        finishReason=chunk.finish_reason,
        startedAt=maybe_rfc3339(chunk.started_at),
        finishedAt=maybe_rfc3339(chunk.finished_at),
        firstStartedAt=maybe_rfc3339(chunk.first_started_at),
        lane=chunk.lane,
    )
    if chunk.rejected is not None:
        faults = [FaultView(pointer=pointer, expected=expected) for pointer, expected in chunk.rejected.faults]
        view["rejected"] = RejectedView(output=chunk.rejected.answer, errors=faults)
    return view


def _status(chunk: core.FinishedChunk) -> Literal["completed", "failed", "gap"]:
    if chunk.failure is None:
        return "completed"
    return "gap" if chunk.is_gap else "failed"
