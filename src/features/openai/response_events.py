"""Computes the events of a response of `/v1`, and their numbers, from the state of its task alone. Pure.

The list of a response's events only grows at its end. A stream of a response's events that is opened again after any
number continues with the same events under the same numbers. There is one exception: if a response's task is retried
through the native API, the final event is removed, and the next event reuses its number.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from ...kernel.domain.task import Status


class ResponseEventKind(StrEnum):
    """The kind of an event in a stream, in OpenAI's words. The last event's name depends on the end."""

    CREATED = "response.created"
    QUEUED = "response.queued"
    IN_PROGRESS = "response.in_progress"
    ITEM_ADDED = "response.output_item.added"
    PART_ADDED = "response.content_part.added"
    DELTA = "response.output_text.delta"
    TEXT_DONE = "response.output_text.done"
    PART_DONE = "response.content_part.done"
    ITEM_DONE = "response.output_item.done"
    END = "end"


_TEXT_BEGINS = (ResponseEventKind.ITEM_ADDED, ResponseEventKind.PART_ADDED)
_TEXT_ENDS = (ResponseEventKind.TEXT_DONE, ResponseEventKind.PART_DONE, ResponseEventKind.ITEM_DONE)
BEFORE_TEXT = (ResponseEventKind.CREATED, ResponseEventKind.QUEUED, ResponseEventKind.IN_PROGRESS, *_TEXT_BEGINS)
_BEFORE_TEXT = 3  # created, queued, in progress
FIRST_DELTA = _BEFORE_TEXT + len(_TEXT_BEGINS)


class ResponseEvent(NamedTuple):
    """An event of a response and its number. `delta` is the number of its piece of text, from 0."""

    number: int
    kind: ResponseEventKind
    delta: int | None = None


class ResponseProgress(NamedTuple):
    """How far a response of `/v1` has progressed.

    `started` says that a worker has taken the response's task. `deltas` is how many pieces of the response's text
    exist.

    Each piece of the text is the output of a chunk, up to the first chunk without an output. If a task merges, has a
    schema or may leave gaps, its text has a single piece, the result, which exists once the task has completed.
    `all_known` says that at this moment the text has no more pieces than `deltas`.
    """

    status: Status
    started: bool
    deltas: int
    all_known: bool = True

    @property
    def length(self) -> int:
        """How many events exist."""
        begins = _BEFORE_TEXT if self.started else _BEFORE_TEXT - 1
        if self.deltas:
            begins = FIRST_DELTA + self.deltas
        if not (self.status.terminal and self.all_known):
            return begins
        return begins + (len(_TEXT_ENDS) if self.status is Status.COMPLETED else 0) + 1


def response_events(standing: ResponseProgress, first: int) -> Iterator[ResponseEvent]:
    """Return a response's events from `first` on. Only a completed response has events that end its text."""
    for number in range(first, standing.length):
        yield _event(standing, number)


def _event(standing: ResponseProgress, number: int) -> ResponseEvent:
    if standing.status.terminal and standing.all_known and number == standing.length - 1:
        return ResponseEvent(number, ResponseEventKind.END)
    if number < _BEFORE_TEXT:
        return ResponseEvent(
            number, (ResponseEventKind.CREATED, ResponseEventKind.QUEUED, ResponseEventKind.IN_PROGRESS)[number]
        )
    if number < FIRST_DELTA:
        return ResponseEvent(number, _TEXT_BEGINS[number - _BEFORE_TEXT])
    delta = number - FIRST_DELTA
    if delta < standing.deltas:
        return ResponseEvent(number, ResponseEventKind.DELTA, delta)
    return ResponseEvent(number, _TEXT_ENDS[delta - standing.deltas])
