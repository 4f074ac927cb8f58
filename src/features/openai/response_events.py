"""Computes the events of a response of `/v1`, and their numbers, from the state of its task alone. Pure.

The list of a response's events only grows at its end, so a stream that is opened again continues with the same events
under the same numbers. One exception: if the task is retried through the native API, the next event reuses the number
of the final event.
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


_TEXT_ENDS = (ResponseEventKind.TEXT_DONE, ResponseEventKind.PART_DONE, ResponseEventKind.ITEM_DONE)
BEFORE_TEXT = (
    *(ResponseEventKind.CREATED, ResponseEventKind.QUEUED, ResponseEventKind.IN_PROGRESS),
    *(ResponseEventKind.ITEM_ADDED, ResponseEventKind.PART_ADDED),
)
FIRST_DELTA = len(BEFORE_TEXT)


class ResponseEvent(NamedTuple):
    """An event of a response and its number. `delta` is the number of its piece of text, from 0."""

    number: int
    kind: ResponseEventKind
    delta: int | None = None


class ResponseProgress(NamedTuple):
    """How far a response of `/v1` has progressed.

    `started` says that a worker has taken the task. `deltas` counts the pieces of the text: the outputs of chunks, up
    to the first chunk without one. If a task merges, has a schema or may leave gaps, the only piece is the result of
    the completed task. `all_known` says that the text has no further pieces at this moment.
    """

    status: Status
    started: bool
    deltas: int
    all_known: bool = True

    @property
    def kinds(self) -> list[ResponseEventKind]:
        """The kinds of all events that exist. Only a completed response has events that end its text."""
        found = list(BEFORE_TEXT if self.deltas else BEFORE_TEXT[: 3 if self.started else 2])
        found += [ResponseEventKind.DELTA] * self.deltas
        if self.status.terminal and self.all_known:
            found += [*(_TEXT_ENDS if self.status is Status.COMPLETED else ()), ResponseEventKind.END]
        return found


def events_from(standing: ResponseProgress, first: int) -> Iterator[ResponseEvent]:
    """Return a response's events from `first` on."""
    for number, kind in enumerate(standing.kinds[first:], start=first):
        yield ResponseEvent(number, kind, number - FIRST_DELTA if kind is ResponseEventKind.DELTA else None)
