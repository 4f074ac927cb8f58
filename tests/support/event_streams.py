"""Reads server-sent events as the HTML Standard says ("Parsing an event stream"), strictly."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One event: its name, its own `id` (None if it has none), and its data."""

    name: str
    id: str | None
    data: str

    @property
    def json(self) -> Any:
        """Parse the data."""
        return json.loads(self.data)


def events_of(lines: Iterable[str]) -> Iterator[Received | int]:
    """Give events from lines without their ends, and `retry` in milliseconds. What is cut off is no event."""
    name, event_id, data = "message", None, list[str]()
    for line in lines:
        if not line:
            if data:
                yield Received(name, event_id, "\n".join(data))
            name, event_id, data = "message", None, []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "event":
                name = value
            case "id":
                event_id = value
            case "data":
                data.append(value)
            case "retry":
                yield int(value)
            case _:
                assert not field, f"no field of an event stream: {line!r}"


def read_events(text: str) -> list[Received]:
    """Read the events of a whole stream."""
    return [each for each in events_of(text.split("\n")) if isinstance(each, Received)]
