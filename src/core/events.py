"""Which events a task has for whoever follows it, and how they are numbered: from the task's state alone. Pure.

A place says all that a client has seen: of which generation, up to which status, and how many chunks in the order of
the text. An event is named by the place behind it. So a stream that is opened again behind any event, on another
isolate, after a retry of the task or after its end, goes on with the same events under the same names.

A generation has its events in this order: `pending`, `processing`, the chunks, and the status that ends it. A chunk
follows once all chunks before it have, so a chunk behind one that has failed waits for a retry. Chunks that were sent
in an earlier generation are not sent again: their outputs stay as they are.
"""

import re
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from .states import Status

_NUMBER = "(?:0|[1-9][0-9]{0,8})"
ID_PATTERN = f"{_NUMBER}-{_NUMBER}"
_ID = re.compile(ID_PATTERN)


class Phase(IntEnum):
    """How far a generation of a task has come. It never goes back: a task that is given back has been worked on."""

    PENDING = 0
    PROCESSING = 1
    ENDED = 2


class Place(NamedTuple):
    """What was seen last: `chunks` in the order of the text, and of this generation the status of this phase."""

    generation: int
    phase: Phase
    chunks: int

    @property
    def id(self) -> str:
        """The event's `id`: the generation, and a number that rises in it from event to event."""
        return f"{self.generation}-{self.chunks * len(Phase) + self.phase}"


class State(NamedTuple):
    """What a task's row says of its events. `started`: a worker has had it, in this generation or an earlier one."""

    generation: int
    status: Status
    started: bool


class Event(NamedTuple):
    """What happened: a status, or the chunk of this index has an output. `place` is the one behind it."""

    place: Place
    status: Status | None = None
    chunk: int | None = None


def place_of(text: str) -> Place | None:
    """Read an `id`; None: it cannot be one."""
    if not _ID.fullmatch(text):
        return None
    generation, number = map(int, text.split("-"))
    chunks, phase = divmod(number, len(Phase))
    return Place(generation, Phase(phase), chunks)


def has_been(place: Place, state: State, ready: int) -> bool:
    """Whether a task in this state, of whose chunks the first `ready` have outputs, can have given this place."""
    if place.generation > state.generation or place.chunks > ready:
        return False
    if place.generation < state.generation or place.phase is Phase.PENDING:
        return True
    return state.status.terminal if place.phase is Phase.ENDED else state.started


def takes_chunks(place: Place | None, state: State) -> bool:
    """Whether chunks may follow behind the place: not before the worker's status, nor behind the end."""
    if place is not None and place.generation == state.generation and place.phase is not Phase.PENDING:
        return place.phase is Phase.PROCESSING
    return _has_begun(state)


def events(place: Place | None, state: State, ready: int, *, all_ready: bool) -> Iterator[Event]:
    """Give the events behind a place, None for the beginning, of which the last one leads to the task's state.

    `ready` chunks behind the place are at hand. Unless they are `all_ready` there may be more, and the end waits.
    """
    chunks = 0 if place is None else place.chunks
    if place is None or place.generation < state.generation:
        place = Place(state.generation, Phase.PENDING, chunks)
        yield Event(place, status=Status.PENDING)
    if place.phase is Phase.PENDING and _has_begun(state):
        place = Place(state.generation, Phase.PROCESSING, chunks)
        yield Event(place, status=Status.PROCESSING)
    if place.phase is Phase.PROCESSING:
        for chunk in range(chunks, chunks + ready):
            place = Place(state.generation, Phase.PROCESSING, chunk + 1)
            yield Event(place, chunk=chunk)
    ends = state.status.terminal and (all_ready or place.phase is Phase.PENDING)  # then it has had no worker
    if ends and place.phase is not Phase.ENDED:
        yield Event(Place(state.generation, Phase.ENDED, place.chunks), status=state.status)


def _has_begun(state: State) -> bool:
    """Whether the generation has come beyond `pending`, as far as its row says: a task that was put back, begun and
    given back looks like one that was put back, until a worker has it again.
    """
    if state.status is Status.PENDING:
        return state.started and state.generation == 0
    return state.started
