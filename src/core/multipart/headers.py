"""The headers of `multipart/form-data`: the boundary between the parts, and the names and filenames of the parts.

Clients write a filename in UTF-8 in quotes (WHATWG HTML), or encoded as RFC 5987 and RFC 2231 say.
"""

import re
from collections.abc import Mapping
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
    return Disposition(found["name"], _extended(found, "filename"))


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
    """Read the parameters of a header from `text`, which is what follows the header's first semicolon.

    Raises Malformed with a message that names the header `where`.
    """
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


def _extended(found: Mapping[str, str], name: str) -> str | None:
    """Return a parameter that may be encoded (RFC 5987) or continued (RFC 2231); None if the header lacks it."""
    if f"{name}*" in found:
        return _decoded(found[f"{name}*"])
    if name in found:
        return found[name]
    pieces: list[bytes] = []
    charset = "utf-8"
    while True:
        number = len(pieces)
        plain, encoded = found.get(f"{name}*{number}"), found.get(f"{name}*{number}*")
        if encoded is not None:
            if number == 0:
                charset, encoded = _charset(encoded)
            pieces.append(unquote_to_bytes(encoded))
        elif plain is not None:
            pieces.append(plain.encode("utf-8"))
        else:
            return _text(b"".join(pieces), charset) if pieces else None


def _decoded(value: str) -> str:
    charset, rest = _charset(value)
    return _text(unquote_to_bytes(rest), charset)


def _charset(value: str) -> tuple[str, str]:
    """Split an encoded value into its character set and the text; the language between them is dropped."""
    charset, _, rest = value.partition("'")
    _, quote, rest = rest.partition("'")
    if not quote or charset.lower() not in _CHARSETS:
        raise Malformed("A filename is encoded, but not as UTF-8 or ISO-8859-1.")
    return charset, rest


def _text(raw: bytes, charset: str) -> str:
    try:
        return raw.decode(charset)
    except UnicodeDecodeError:
        raise Malformed("A filename has bytes that are not of its character set.") from None
