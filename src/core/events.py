"""The events that a task has for its followers, and their numbers. Events and numbers follow from the task's state.

Pure. A place says how much a client has seen: which generation, up to which status, and how many chunks in text order.
An event's name is the place right after it. So a client can open a stream again after any event: on another isolate,
after a retry of the task, or after its end. The stream continues with the same events under the same names.

A generation has its events in this order: `pending`, `processing`, the chunks, and the final status. A chunk is sent
once all chunks before it were sent, so a chunk after a failed one waits for a retry. Chunks that an earlier generation
sent are not sent again: their outputs do not change.

A chunk without which its task goes on has a `gap` in its place, so that it holds nothing back. If a retry fills the gap
later, its output is no event: its place was passed.
"""

import re
from collections.abc import Container, Iterator
from enum import IntEnum
from typing import NamedTuple

from .states import Status

_NUMBER = "(?:0|[1-9][0-9]{0,8})"
ID_PATTERN = f"{_NUMBER}-{_NUMBER}"
_ID = re.compile(ID_PATTERN)


class Phase(IntEnum):
    """How far a generation of a task has progressed.

    A generation never returns to an earlier phase: a released task stays in PROCESSING.
    """

    PENDING = 0
    PROCESSING = 1
    ENDED = 2


class EventPlace(NamedTuple):
    """The last thing that a client has seen: `chunks` in text order, and the status of `phase` in `generation`."""

    generation: int
    phase: Phase
    chunks: int

    @property
    def id(self) -> str:
        """The event's `id`: the generation, and a number that rises with each event of that generation."""
        return f"{self.generation}-{self.chunks * len(Phase) + self.phase}"


class State(NamedTuple):
    """The part of a task's row that its events follow from.

    `started` says that a worker has had the task, in this generation or before.
    """

    generation: int
    status: Status
    started: bool


class TaskEvent(NamedTuple):
    """One event: a new status, an output for the chunk of this index, or a gap in its place.

    `place` is the place right after the event.
    """

    place: EventPlace
    status: Status | None = None
    chunk: int | None = None
    gap: int | None = None


def place_of(text: str) -> EventPlace | None:
    """Return the place that the `id` of an event names, or None if the text cannot be an `id`."""
    if not _ID.fullmatch(text):
        return None
    generation, number = map(int, text.split("-"))
    chunks, phase = divmod(number, len(Phase))
    return EventPlace(generation, Phase(phase), chunks)


def has_been(place: EventPlace, state: State, ready: int) -> bool:
    """Whether a task in this state can have given this place. Its first `ready` chunks have outputs, or had a gap."""
    if place.generation > state.generation or place.chunks > ready:
        return False
    if place.generation < state.generation or place.phase is Phase.PENDING:
        return True
    return state.status.terminal if place.phase is Phase.ENDED else state.started


def takes_chunks(place: EventPlace | None, state: State) -> bool:
    """Whether chunks may follow at this place: only after the `processing` status and before the end."""
    if place is not None and place.generation == state.generation and place.phase is not Phase.PENDING:
        return place.phase is Phase.PROCESSING
    return _has_begun(state)


def events(
    place: EventPlace | None, state: State, ready: int, *, all_ready: bool, gaps: Container[int] = ()
) -> Iterator[TaskEvent]:
    """Give the events after a place, or from the beginning with None. The last event leads to the task's state.

    `ready` chunks after the place are available, those of `gaps` without an output. Unless these chunks are `all_ready`
    there may be more, and the end waits for them.
    """
    chunks = 0 if place is None else place.chunks
    if place is None or place.generation < state.generation:
        place = EventPlace(state.generation, Phase.PENDING, chunks)
        yield TaskEvent(place, status=Status.PENDING)
    if place.phase is Phase.PENDING and _has_begun(state):
        place = EventPlace(state.generation, Phase.PROCESSING, chunks)
        yield TaskEvent(place, status=Status.PROCESSING)
    if place.phase is Phase.PROCESSING:
        for chunk in range(chunks, chunks + ready):
            place = EventPlace(state.generation, Phase.PROCESSING, chunk + 1)
            yield TaskEvent(place, gap=chunk) if chunk in gaps else TaskEvent(place, chunk=chunk)
    ends = state.status.terminal and (all_ready or place.phase is Phase.PENDING)  # no worker has had this generation
    if ends and place.phase is not Phase.ENDED:
        yield TaskEvent(EventPlace(state.generation, Phase.ENDED, place.chunks), status=state.status)


def _has_begun(state: State) -> bool:
    """Whether the generation is past `pending`, as far as the task's row says.

    A retried task that a worker took and released looks like a retried task that no worker has taken yet, until a
    worker takes it again.
    """
    if state.status is Status.PENDING:
        return state.started and state.generation == 0
    return state.started
