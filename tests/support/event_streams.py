"""Reads server-sent events strictly by the HTML Standard ("Parsing an event stream")."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass(frozen=True, slots=True)
class Received:
    """One received event: its name, its id (None if it has none), and its data."""

    name: str
    id: str | None
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


def events_of(lines: Iterable[str]) -> Iterator[Received | int]:
    """Yield a stream's events, and values of `retry` in ms. One that is cut off is dropped."""
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
    return [each for each in events_of(text.split("\n")) if isinstance(each, Received)]


@dataclass(slots=True)
class Follower:
    """A client that follows one task over several connections; each one continues after the last received event."""

    http: httpx.Client
    path: str
    came: list[Received] = field(default_factory=list)  # The received events that have an id.
    progress: int = 0
    connections: int = 0
    end: Any = None

    def connect(self, most: int | None = None) -> None:
        """Open the stream, and read it until its end, or until `most` events with an id were received."""
        self.connections += 1
        headers = {"Last-Event-ID": self.came[-1].id or ""} if self.came else {}
        with self.http.stream("GET", self.path, headers=headers, timeout=60) as answer:
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"] == "text/event-stream"
            for event in events_of(answer.iter_lines()):
                self._take(event)
                if most is not None and len(self.came) >= most:
                    return

    def _take(self, event: Received | int) -> None:
        assert self.end is None, "something came behind the end"
        if isinstance(event, int):
            return
        if event.id is not None:
            self.came.append(event)
        elif event.name == "end":
            self.end = event.json
        else:
            assert event.name == "progress"
            self.progress += 1

    def follow(
        self, seconds: float = 60, *, cut_each: bool = False, meanwhile: Callable[[], object] | None = None
    ) -> Any:
        """Reconnect until `end`, and return its task. With `cut_each`, leave after each event."""
        deadline = time.monotonic() + seconds
        while self.end is None:
            assert time.monotonic() < deadline, f"no end within {seconds} s: {self.came[-1:]}"
            try:
                self.connect(len(self.came) + 1 if cut_each else None)
            except httpx.TransportError:
                if meanwhile is None:
                    raise
                meanwhile()
        return self.end

    @property
    def chunks(self) -> list[Any]:
        return [event.json for event in self.came if event.name == "chunk"]

    @property
    def statuses(self) -> list[str]:
        return [event.json["status"] for event in self.came if event.name == "status"]
