"""Computes the events of a task's event stream, and their numbers, from the task's state alone. Pure.

The `id` of an event names the place right after it, an `EventMark`. A client can open the stream again after any event:
on another isolate, after a retry of the task, or after its end. It continues with the same events under the same ids.

A generation of a task begins with its submission or with a retry by its client, and ends with the next retry. The
events of a generation are, in this order, `pending`, `processing`, the chunks, and the final status. The output of a
chunk is sent once the outputs of all chunks before it were sent, so a chunk after a failed one waits for a retry.
Outputs that an earlier generation sent are not sent again, because they do not change.

If a task continues without a failed chunk, a `gap` event takes the place of the chunk's output, so that later chunks do
not wait. An output that a retry makes later in place of a gap has no event.
"""

import re
from collections.abc import Container, Iterator
from enum import IntEnum
from typing import NamedTuple

from .task import Status

_NUMBER = "(?:0|[1-9][0-9]{0,8})"
ID_PATTERN = f"{_NUMBER}-{_NUMBER}"
_ID = re.compile(ID_PATTERN)


class Phase(IntEnum):
    """How far a generation of a task is: unclaimed, claimed (also after a release), ended. It only advances."""

    PENDING = 0
    PROCESSING = 1
    ENDED = 2


class EventMark(NamedTuple):
    """How much a client has seen of an event stream: the first `chunks` chunks, up to the `phase` of a `generation`."""

    generation: int
    phase: Phase
    chunks: int

    @property
    def id(self) -> str:
        """The `id` of the event before this place of the stream: a generation, and a number that rises within it."""
        return f"{self.generation}-{self.chunks * len(Phase) + self.phase}"


class State(NamedTuple):
    """What of a task's row makes its events. `started`: a worker has had it, in whatever generation."""

    generation: int
    status: Status
    started: bool


class TaskEvent(NamedTuple):
    """A new status, the output of `chunk`, or a `gap`; `mark` says how much of the stream was seen with it."""

    mark: EventMark
    status: Status | None = None
    chunk: int | None = None
    gap: int | None = None


def mark_of(text: str) -> EventMark | None:
    """Read the `id` of an event as a place in the event stream; None if the text cannot be an `id`."""
    if not _ID.fullmatch(text):
        return None
    generation, number = map(int, text.split("-"))
    chunks, phase = divmod(number, len(Phase))
    return EventMark(generation, Phase(phase), chunks)


def has_been(mark: EventMark, state: State, ready: int) -> bool:
    """Whether a client can have seen the stream up to a place; the first `ready` chunks are done or gaps."""
    if mark.generation > state.generation or mark.chunks > ready:
        return False
    if mark.generation < state.generation or mark.phase is Phase.PENDING:
        return True
    return state.status.terminal if mark.phase is Phase.ENDED else state.started


def takes_chunks(mark: EventMark | None, state: State) -> bool:
    """Whether events of chunks may follow at this place of a stream: only after `processing` and before the end."""
    if mark is not None and mark.generation == state.generation and mark.phase is not Phase.PENDING:
        return mark.phase is Phase.PROCESSING
    return _has_begun(state)


def events(
    mark: EventMark | None, state: State, ready: int, *, all_ready: bool, gaps: Container[int] = ()
) -> Iterator[TaskEvent]:
    """Return a task's events after `mark`, or from the beginning if `mark` is None, up to the task's present state.

    `ready` is how many chunks after `mark` have an output or a gap; the chunks in `gaps` have no output. `all_ready`
    says that no further chunks will follow; while it is False, the event of the task's end is not given yet.
    """
    chunks = 0 if mark is None else mark.chunks
    if mark is None or mark.generation < state.generation:
        mark = EventMark(state.generation, Phase.PENDING, chunks)
        yield TaskEvent(mark, status=Status.PENDING)
    if mark.phase is Phase.PENDING and _has_begun(state):
        mark = EventMark(state.generation, Phase.PROCESSING, chunks)
        yield TaskEvent(mark, status=Status.PROCESSING)
    if mark.phase is Phase.PROCESSING:
        for chunk in range(chunks, chunks + ready):
            mark = EventMark(state.generation, Phase.PROCESSING, chunk + 1)
            yield TaskEvent(mark, gap=chunk) if chunk in gaps else TaskEvent(mark, chunk=chunk)
    # the phase is PENDING if no worker has had the task in this generation
    ends = state.status.terminal and (all_ready or mark.phase is Phase.PENDING)
    if ends and mark.phase is not Phase.ENDED:
        yield TaskEvent(EventMark(state.generation, Phase.ENDED, mark.chunks), status=state.status)


def _has_begun(state: State) -> bool:
    """Whether a worker has had the task in this generation. A retried task that was released looks as if none had."""
    return state.started and (state.status is not Status.PENDING or state.generation == 0)
