"""Follows a batch to its end, and writes the lines of its output file as they come."""

from pathlib import Path
from typing import IO, Final, Self

from . import terminal
from .backoff import Backoff
from .batches import ENDED
from .connection import ApiClient
from .errors import CommandError, ServerRefused, Unreachable
from .progress import TaskDisplay
from .shapes import Json

_POLL_SECONDS_LEAST: Final = 0.5
_POLL_SECONDS_MOST: Final = 5.0


class LineSink:
    """Writes the lines of a batch's output file to standard output, to a file, or nowhere.

    If an earlier command began the file, further lines are written after the file's last whole line. `written` is the
    number of whole lines in the file. `last_line` is the file's last whole line, and `rest` is the beginning of a line
    that the earlier command did not write completely. The file may have other lines than those of the batch, so the
    file is not changed before the first `write`.
    """

    def __init__(self, path: Path | None, *, to_standard_output: bool) -> None:
        self.written = 0
        self.last_line = self.rest = b""
        self._path = path
        self._whole = 0  # The number of bytes of the whole lines that the file had at first.
        self._prints = path is None and to_standard_output
        self._file: IO[bytes] | None = None

    @property
    def takes_lines(self) -> bool:
        """Whether lines are written to standard output or to a file."""
        return self._prints or self._path is not None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = self._path.open("r+b" if self._path.exists() else "w+b")
                self._go_to_the_end(self._file)
            except OSError as error:
                raise CommandError(f"cannot write {self._path}: {error.strerror}") from None
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _go_to_the_end(self, file: IO[bytes]) -> None:
        """Count the whole lines of the file, and note its last line."""
        for line in file:
            if not line.endswith(b"\n"):
                self.rest = line
                break
            self._whole += len(line)
            self.written += 1
            self.last_line = line

    def _cut_off(self, file: IO[bytes]) -> None:
        """Remove an incomplete last line from the end of the file."""
        if self.rest:
            file.truncate(self._whole)
            file.seek(self._whole)
            self.rest = b""

    def write(self, lines: bytes, display: TaskDisplay) -> None:
        """Write whole lines."""
        if self._file is not None:
            try:
                self._cut_off(self._file)
                self._file.write(lines)
                self._file.flush()
            except OSError as error:
                raise CommandError(f"cannot write {self._path}: {error.strerror}") from None
        elif self._prints:
            with display.aside():
                terminal.write(lines.decode("ascii"))


class BatchFollowing:
    """Follows one batch."""

    def __init__(
        self,
        api: ApiClient,
        batch: Json,
        sink: LineSink,
        display: TaskDisplay,
        *,
        patience_seconds: float,
        backoff: Backoff | None = None,
    ) -> None:
        self._api = api
        self._batch = batch
        self._sink = sink
        self._display = display
        self._backoff = backoff or Backoff(patience_seconds)
        self._is_checked = not (sink.written or sink.rest)

    def to_the_end(self) -> Json:
        """Follow the batch until it has ended and all its lines are written, and return it. Raises `CommandError`."""
        pause = _POLL_SECONDS_LEAST
        while True:
            try:
                before = self._sink.written
                is_over = self._look()
                self._answered()
            except (Unreachable, ServerRefused) as error:
                self._stay(error)
                continue
            if is_over:
                return self._batch
            pause = _POLL_SECONDS_LEAST if self._sink.written > before else min(_POLL_SECONDS_MOST, pause * 1.5)
            self._backoff.wait(pause)

    def _look(self) -> bool:
        """Read the batch and its new lines. Returns whether the batch has ended and all its lines are written."""
        self._batch = batch = self._api.get(f"/v1/batches/{self._batch['id']}")
        self._show(batch)
        has_lines = self._read_lines(batch)
        return batch["status"] in ENDED and has_lines

    def _read_lines(self, batch: Json) -> bool:
        """Write the lines of the output file that were not written yet. Returns True when no more can be read now."""
        file = batch["output_file_id"]
        if file is None or not self._sink.takes_lines or not self._is_ours(file):
            return True
        while True:
            found = self._api.fetch(f"/v1/files/{file}/content", {"offset": str(self._sink.written)})
            last = int(found.headers.get("X-Last-Line", "0"))
            if found.content:
                self._sink.write(found.content, self._display)
                self._sink.written = last
            if not found.content:
                return True

    def _is_ours(self, file: str) -> bool:
        """Check that the lines which an earlier command wrote are those of this batch.

        Returns False if the batch has too few lines yet to compare them. Raises `CommandError`.
        """
        if self._is_checked:
            return True
        sink = self._sink
        query = {"offset": str(max(0, sink.written - 1)), "limit": "2"}
        found, expected = self._api.fetch(f"/v1/files/{file}/content", query).content, sink.last_line + sink.rest
        self._is_checked = found.startswith(expected)
        if not self._is_checked and (self._batch["status"] in ENDED or not expected.startswith(found)):
            raise CommandError("the file of --output has lines of something else; name another file, or remove it")
        return self._is_checked

    def _show(self, batch: Json) -> None:
        counts = batch["request_counts"]
        done = {"completed": counts["completed"] + counts["failed"], "total": counts["total"] or None}
        # With `terminal` the display does not write "merging" when all lines of a running batch are done.
        self._display.progress({"status": batch["status"].replace("_", " "), "progress": done, "terminal": True})

    def _stay(self, error: Unreachable | ServerRefused) -> None:
        """Wait before the next request to a server that does not answer."""
        if isinstance(error, ServerRefused) and not error.may_pass:
            raise error
        if not self._backoff.is_away:
            self._display.note(f"{error}; the batch is safe on the server, trying again …")
        self._backoff.wait(self._backoff.pause(error))

    def _answered(self) -> None:
        if self._backoff.is_away:
            self._display.note("the server is back")
        self._backoff.succeed()


def write_errors(api: ApiClient, file_id: str, path: Path) -> None:
    """Write the error file of a batch to `path`, completely or not at all. Raises `CommandError`."""
    content = api.fetch(f"/v1/files/{file_id}/content", {}).content
    beside = path.with_name(f"{path.name}.part")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
