"""Parses a body of the type `multipart/form-data` (RFC 7578) while its bytes arrive, in chunks of any size.

The parser holds at most a part's headers, one field, or the beginning of a boundary. The parser never holds a whole
file: it hands on the bytes of a file as they come.
"""

import re
from collections.abc import Generator, Iterator
from enum import Enum, auto
from typing import NamedTuple

from .headers import Disposition, Malformed, part_disposition

PARTS_MOST = 20
HEADER_BYTES_MOST = 8_192  # The most bytes of all headers of one part together.
FIELD_BYTES_MOST = 65_536  # The most bytes in the value of a part that is no file.
PREAMBLE_BYTES_MOST = 1_024  # The most bytes that may come before the first boundary.

# Patterns for the rest of a boundary's line after the boundary, and for the beginning of such a rest.
_LINE_END = re.compile(rb"[ \t]{0,256}\r\n")
_BEGUN_LINE_END = re.compile(rb"-|[ \t]{0,256}\r?")


class Field(NamedTuple):
    """A part without a filename, with its whole value."""

    name: str
    value: bytes


class FileStart(NamedTuple):
    """The beginning of a part that has a filename, and so is a file.

    The bytes of the file follow the `FileStart`, and `FILE_END` follows the bytes.
    """

    name: str
    filename: str


class FileEnd(Enum):
    """The type of `FILE_END`."""

    FILE_END = auto()


FILE_END = FileEnd.FILE_END
Event = Field | FileStart | bytes | FileEnd


class _State(Enum):
    PREAMBLE = auto()  # Before the first boundary.
    BEHIND = auto()  # After a boundary, within the boundary's line.
    HEADERS = auto()
    CONTENT = auto()
    EPILOGUE = auto()  # Behind the last boundary.


class MultipartParser:
    """Parses one body. `feed` takes each chunk of the body in turn, and `finish` is called at the end of the body.

    However a body is split into chunks, the events are the same, apart from how the bytes of a file are divided.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        # The body begins with a boundary, and every other boundary follows a line's end. With a line's end added before
        # the body, all boundaries look alike.
        self._held = b"\r\n"
        self._state = _State.PREAMBLE
        self._parts = 0
        self._part: Disposition | None = None
        self._value = b""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Parse a chunk of the body, and yield the fields and pieces of files that the chunk completes.

        Raises Malformed. The caller must consume the whole iterator.
        """
        data = self._held + chunk if self._held else chunk
        at, goes_on = 0, True
        while goes_on and self._state is not _State.EPILOGUE:
            if self._state is _State.CONTENT:
                at, goes_on = yield from self._content(data, at)
                continue
            behind = self._line(data, at)
            at, goes_on = (at, False) if behind is None else (behind, True)
            yield from self._opened()
        self._held = b"" if self._state is _State.EPILOGUE else data[at:]

    def finish(self) -> None:
        """Check that the body did not end before its last boundary. Raises Malformed."""
        if self._state is not _State.EPILOGUE:
            raise Malformed("The body ends before its last boundary.")

    def _line(self, data: bytes, at: int) -> int | None:
        """Read a part of the body that is no content: the preamble, the rest of a boundary's line, or headers.

        Return where this part ends, or None if its end has not arrived yet.
        """
        match self._state:
            case _State.PREAMBLE:
                return self._preamble(data, at)
            case _State.BEHIND:
                return self._behind(data, at)
            case _:
                return self._headers(data, at)

    def _preamble(self, data: bytes, at: int) -> int | None:
        """Find the first boundary of the body.

        Return where the boundary ends, or None if the boundary has not arrived whole.
        """
        found = data.find(self._delimiter, at)
        # The earliest place where a boundary may begin that has not arrived whole.
        earliest = len(data) - len(self._delimiter) + 1 if found < 0 else found
        if earliest > PREAMBLE_BYTES_MOST + 2:
            raise Malformed("The body does not begin with the boundary that its Content-Type names.")
        if found < 0:
            return None
        self._state = _State.BEHIND
        return found + len(self._delimiter)

    def _behind(self, data: bytes, at: int) -> int | None:
        """Read the rest of a boundary's line: two hyphens after the last boundary, only white space after others."""
        if data.startswith(b"--", at):
            self._state = _State.EPILOGUE
            return at + 2
        line = _LINE_END.match(data, at)
        if line is None:
            if _BEGUN_LINE_END.fullmatch(data, at):
                return None
            raise Malformed("A boundary is followed by other characters in its line.")
        self._parts += 1
        if self._parts > PARTS_MOST:
            raise Malformed(f"The body has more than {PARTS_MOST} parts.")
        self._state = _State.HEADERS
        # The line's end is not consumed, so that an empty line ends the headers even if the part has no headers.
        return line.end() - 2

    def _headers(self, data: bytes, at: int) -> int | None:
        """Read the headers of a part.

        Return where the part's content begins, or None if the beginning has not arrived yet.
        """
        end = data.find(b"\r\n\r\n", at)
        if (len(data) - 3 if end < 0 else end) - at > HEADER_BYTES_MOST:
            raise Malformed(f"The headers of a part have more than {HEADER_BYTES_MOST} bytes.")
        # A part may lack its content and also the line's end before the content. In this case, the boundary follows the
        # headers at once.
        is_begun = len(data) - end - 2 < len(self._delimiter) and self._delimiter.startswith(data[end + 2 :])
        if end < 0 or is_begun:
            return None
        self._part = part_disposition(data[at:end])
        self._value = b""
        self._state = _State.CONTENT
        return end + 2 if data.startswith(self._delimiter, end + 2) else end + 4

    def _opened(self) -> Iterator[FileStart]:
        """Yield the beginning of a file, if the headers of a file's part have just been read."""
        if self._state is _State.CONTENT and self._part is not None and self._part.filename is not None:
            yield FileStart(self._part.name, self._part.filename)

    def _content(self, data: bytes, at: int) -> Generator[Event, None, tuple[int, bool]]:
        """Read the content of a part.

        Return up to where the data has been read, and whether the parser can read more of the data.
        """
        end = data.find(self._delimiter, at)
        until = self._surely_content(data, at) if end < 0 else end
        assert self._part is not None
        is_file = self._part.filename is not None
        if until > at and is_file:
            yield data[at:until]
        if not is_file:
            self._value += data[at:until]
            if len(self._value) > FIELD_BYTES_MOST:
                raise Malformed(f"A field has more than {FIELD_BYTES_MOST} bytes.")
        if end < 0:
            return until, False
        yield FILE_END if is_file else Field(self._part.name, self._value)
        self._state = _State.BEHIND
        return end + len(self._delimiter), True

    def _surely_content(self, data: bytes, at: int) -> int:
        """Return up to where data without a boundary is surely content: the data's end may begin a boundary."""
        start = data.find(b"\r", max(at, len(data) - len(self._delimiter) + 1))
        while start >= 0 and not self._delimiter.startswith(data[start:]):
            start = data.find(b"\r", start + 1)
        return len(data) if start < 0 else start
