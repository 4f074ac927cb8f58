"""Follows a task to its end, by its event stream or else by polls, even if the server is away for some time."""

import json
from collections.abc import Callable
from typing import Final, Protocol

import httpx2

from .backoff import Backoff
from .connection import ApiClient
from .errors import CommandError, ServerRefused, Unreachable
from .shapes import Json, is_terminal

PATIENCE_SECONDS: Final = 600.0
_PAGE: Final = 20
_WAIT_SECONDS_LEAST, _WAIT_SECONDS_MOST = 1, 5


class Viewer(Protocol):
    """The display to which each change of a task is passed."""

    def progress(self, news: Json) -> None:
        """Show the task's state. `news` is a whole task, or the fields of a task that an event has."""

    def chunk(self, chunk: Json) -> None:
        """Show a finished chunk. Each chunk is passed to the display once, in the order of the text."""

    def note(self, text: str) -> None:
        """Show a note that is not about the task, such as that the server is away or back."""


class _NoEvents(Exception):
    """Raised if the server has no event streams, or if a proxy blocks them."""


class _Closed(Exception):
    """Raised if the event stream closed before the task's end.

    `retry_seconds` is the pause before reopening the stream.
    """

    def __init__(self, retry_seconds: float) -> None:
        super().__init__()
        self.retry_seconds = retry_seconds


class Following:
    """Follows one task. `wants_chunks` says that the display shows chunks' outputs before the task's end."""

    def __init__(
        self,
        api: ApiClient,
        task_id: str,
        viewer: Viewer,
        *,
        wants_chunks: bool = True,
        patience_seconds: float = PATIENCE_SECONDS,
        backoff: Backoff | None = None,
    ) -> None:
        self._api = api
        self._path = f"/api/tasks/{task_id}"
        self._viewer = viewer
        self._wants_chunks = wants_chunks
        self._backoff = backoff or Backoff(patience_seconds)
        self._last_id: str | None = None
        self._next_chunk = 0
        self._cursor: str | None = None
        self._barren = 0  # how many streams in a row closed without an event

    def to_the_end(self) -> Json:
        """Follow the task until it has ended, and return it.

        Raises `CommandError` if the task cannot be read for longer than the patience.
        """
        try:
            return self._again_and_again(self._stream)
        except _NoEvents:
            return self._again_and_again(self._poll)

    def _again_and_again(self, attempt: Callable[[], Json]) -> Json:
        while True:
            try:
                return attempt()
            except _Closed as closed:
                self._backoff.wait(closed.retry_seconds)
            except Unreachable as error:
                self._stay(error)
            except ServerRefused as error:
                if not error.may_pass:
                    raise
                self._stay(error)

    def _stay(self, error: Unreachable | ServerRefused) -> None:
        """Wait for a server that is away. Before the first wait of an outage, tell the user that the server is away."""
        if not self._backoff.is_away:
            self._viewer.note(f"{error}; the task is safe on the server, trying again …")
        self._backoff.wait(self._backoff.pause(error))

    def _answered(self) -> None:
        if self._backoff.is_away:
            self._viewer.note("the server is back")
        self._backoff.succeed()

    # --- events -------------------------------------------------------------------------------------------

    def _stream(self) -> Json:
        """Read one event stream. Returns the ended task. Raises `_Closed` if the stream closes before the end."""
        retry, seen = 0.5, 0
        try:
            with self._api.events(f"{self._path}/events", self._last_id) as source:
                for event in source:
                    self._answered()
                    seen += 1
                    if event.retry is not None:
                        retry = event.retry / 1000
                    if event.data and (task := self._take(event)) is not None:
                        return task
        except ServerRefused as error:
            # 404 may mean that there is no task, or an older server without events. After a 404 the task is polled, and
            # a poll reports a missing task.
            if error.status in {404, 405, 406, 501}:
                raise _NoEvents from None
            if error.status == 422 and self._last_id is not None:
                # After a retry the task's events have new ids: open the stream from its beginning. Chunks that were
                # shown are not shown again.
                self._last_id = None
                raise _Closed(0.0) from None
            raise
        except httpx2.SSEError:
            raise _NoEvents from None
        self._barren = 0 if seen else self._barren + 1
        if self._barren > 3:
            raise _NoEvents
        raise _Closed(retry)

    def _take(self, event: httpx2.ServerSentEvent) -> Json | None:
        """Show one event. Returns the task if the event is the last one."""
        try:
            data = json.loads(event.data)
        except ValueError:
            raise CommandError(f"the server sent an event that is not JSON: {event.data[:80]!r}") from None
        if event.id:
            self._last_id = event.id
        match event.event:
            case "chunk":
                self._show(data)
            case "status" | "progress":
                self._viewer.progress(data)
            case "end":
                task: Json = data.get("task", data)
                return task if "terminal" in task else self._api.get(self._path)
        return None

    # --- polling ------------------------------------------------------------------------------------------

    def _poll(self) -> Json:
        """Poll until the task has ended.

        With the parameter `wait`, the server delays its answer to a poll for some seconds.
        """
        wait = 0
        while True:
            task = self._api.get(self._path, {"wait": str(wait)} if wait else None)
            self._answered()
            self._viewer.progress(task)
            # The result of a completed task has all outputs, so its chunks are not read.
            is_wanted = self._wants_chunks and task["status"] != "completed"
            if is_wanted and task["progress"]["completed"] > self._next_chunk:
                self._read_chunks()
            if is_terminal(task):
                return task
            wait = min(_WAIT_SECONDS_MOST, max(_WAIT_SECONDS_LEAST, wait * 2))

    def _read_chunks(self) -> None:
        """Read and show further chunks, page by page.

        A page of chunks that lacks a chunk is read again by the next poll.
        """
        while True:
            query = {"limit": str(_PAGE), **({} if self._cursor is None else {"cursor": self._cursor})}
            page = self._api.get(f"{self._path}/chunks", query)
            self._answered()
            for chunk in page["chunks"]:
                if chunk["index"] == self._next_chunk:
                    self._show(chunk)
            cursor = page.get("nextCursor")
            if cursor is None or not page["chunks"] or page["chunks"][-1]["index"] >= self._next_chunk:
                return
            self._cursor = cursor

    def _show(self, chunk: Json) -> None:
        if chunk["index"] < self._next_chunk:
            return
        self._next_chunk = chunk["index"] + 1
        self._viewer.chunk(chunk)
