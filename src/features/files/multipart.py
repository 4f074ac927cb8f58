"""Parses a body of the type `multipart/form-data` (RFC 7578) while its bytes arrive, in chunks of any size.

The parser holds at most a part's headers, one field, or the beginning of a boundary. The parser never holds a whole
file: it hands on the bytes of a file as they come. Clients write a filename in UTF-8 in quotes (WHATWG HTML), or
encoded as RFC 5987 says.
"""

import re
from collections.abc import Generator, Iterator
from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

MEDIA_TYPE = "multipart/form-data"

_PARAMETERS_MOST = 50
# A parameter of a header: a name, and as its value a token or a quoted text. A browser puts a Windows path in quotes
# without doubling its backslashes, so a backslash is an escape only before a quote or another backslash.
_PARAMETER = re.compile(
    r';[ \t]*([^\s;=()<>@,:\\"/\[\]?]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))[ \t]*', re.DOTALL
)
_ESCAPED = re.compile(r'\\(["\\])')
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_FOLDED = re.compile(r"\r\n(?=[ \t])")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1"})
_PLAIN_ENCODINGS = frozenset({"7bit", "8bit", "binary"})


class Malformed(ValueError):
    """The body of a request does not have the form that its type demands. The message says where."""


class Disposition(NamedTuple):
    """The name of a part, and the part's filename, which is None if the part is no file."""

    name: str
    filename: str | None


def boundary_of(content_type: str) -> bytes:
    """Return the boundary that a Content-Type names. Raises Malformed."""
    boundary = _parameters(content_type.partition(";")[2], "The Content-Type").get("boundary")
    if boundary is None:
        raise Malformed("The Content-Type names no boundary.")
    if not _BOUNDARY.fullmatch(boundary):
        raise Malformed("The boundary in the Content-Type must be 1 to 70 characters of RFC 2046.")
    return boundary.encode("ascii")


def part_disposition(raw: bytes) -> Disposition:
    """Read the headers of a part; `raw` has a line's end before each header. Raises Malformed."""
    headers = _headers(raw)
    kind, _, rest = headers.get("content-disposition", "").partition(";")
    if kind.strip().lower() != "form-data":
        raise Malformed("A part has no Content-Disposition of the type form-data.")
    if headers.get("content-transfer-encoding", "binary").strip().lower() not in _PLAIN_ENCODINGS:
        raise Malformed("A part has a Content-Transfer-Encoding, which form-data does not use.")
    found = _parameters(rest, "A Content-Disposition")
    if "name" not in found:
        raise Malformed("A part has no name in its Content-Disposition.")
    encoded = found.get("filename*")
    return Disposition(found["name"], found.get("filename") if encoded is None else _decoded(encoded))


def _headers(raw: bytes) -> dict[str, str]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("The headers of a part are not UTF-8.") from None
    found: dict[str, str] = {}
    for line in filter(None, _FOLDED.sub("", text).split("\r\n")):
        name, colon, value = line.partition(":")
        if not colon or not _HEADER_NAME.fullmatch(name):
            raise Malformed("A part has a line that is no header.")
        if name.lower() in found:
            raise Malformed("A part has the same header twice.")
        found[name.lower()] = value
    return found


def _parameters(text: str, where: str) -> dict[str, str]:
    """Read a header's parameters from what follows its first semicolon. Raises Malformed, naming `where`."""
    text, at = f";{text.strip().rstrip(';')}", 0
    found: dict[str, str] = {}
    while text != ";" and at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None or len(found) == _PARAMETERS_MOST:
            raise Malformed(f"{where} has parameters that cannot be read.")
        name, quoted, token = match.groups()
        if name.lower() in found:
            raise Malformed(f"{where} has the same parameter twice.")
        # WHATWG HTML says that browsers write a quote in a name as %22.
        found[name.lower()] = token if quoted is None else _ESCAPED.sub(r"\1", quoted).replace("%22", '"')
        at = match.end()
    return found


def _decoded(value: str) -> str:
    """Decode an encoded value (RFC 5987): its character set, a language, which is dropped, and the text."""
    charset, _, rest = value.partition("'")
    _, quote, rest = rest.partition("'")
    if not quote or charset.lower() not in _CHARSETS:
        raise Malformed("A filename is encoded, but not as UTF-8 or ISO-8859-1.")
    try:
        return unquote_to_bytes(rest).decode(charset)
    except UnicodeDecodeError:
        raise Malformed("A filename has bytes that are not of its character set.") from None


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
    """The beginning of a part with a filename. Its bytes follow, and then a `FileEnd`."""

    name: str
    filename: str


class FileEnd(NamedTuple):
    """The end of a part with a filename."""


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
        # Each boundary but the first follows a line's end; with one added before the body, all look alike.
        self._held = b"\r\n"
        self._state = _State.PREAMBLE
        self._parts = 0
        self._part: Disposition | None = None
        self._value = b""

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Parse a chunk, and yield what it completes. The caller must consume it all. Raises Malformed."""
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
        """Read preamble, boundary's line or headers. Return where that ends, or None if it has not arrived."""
        match self._state:
            case _State.PREAMBLE:
                return self._preamble(data, at)
            case _State.BEHIND:
                return self._behind(data, at)
            case _:
                return self._headers(data, at)

    def _preamble(self, data: bytes, at: int) -> int | None:
        """Find the first boundary. Return where it ends, or None if it has not arrived whole."""
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
        """Read a part's headers. Return where its content begins, or None if that has not arrived."""
        end = data.find(b"\r\n\r\n", at)
        if (len(data) - 3 if end < 0 else end) - at > HEADER_BYTES_MOST:
            raise Malformed(f"The headers of a part have more than {HEADER_BYTES_MOST} bytes.")
        # A part may lack its content and the line's end before it. Then the boundary follows the headers at once.
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
        """Read a part's content. Return up to where, and whether more of the data can be read."""
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
        yield FileEnd() if is_file else Field(self._part.name, self._value)
        self._state = _State.BEHIND
        return end + len(self._delimiter), True

    def _surely_content(self, data: bytes, at: int) -> int:
        """Return up to where data without a boundary is surely content: the data's end may begin a boundary."""
        start = data.find(b"\r", max(at, len(data) - len(self._delimiter) + 1))
        while start >= 0 and not self._delimiter.startswith(data[start:]):
            start = data.find(b"\r", start + 1)
        return len(data) if start < 0 else start
