"""Request bodies: read up to a size limit, and parsed as strictly as RFC 8259 (JSON) and RFC 7493 (I-JSON) allow."""

import json
import re
from math import isfinite

from .messages import BodyBroken, BodyTooLarge, Request
from .problems import MALFORMED_BODY, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Refusal

DEPTH_MOST = 104  # An output schema is at most 100 levels deep, and a body has it inside of up to four objects.
# The most tokens in a body: strings, brackets, commas and colons. A usual body of the API has a few dozen tokens,
# besides up to 4 KB of metadata.
TOKENS_MOST = 20_000

# A body without a Content-Type, or with the form type that `curl -d` sends, is parsed as JSON too.
_MEDIA_TYPES = frozenset({"", "application/json", "application/x-www-form-urlencoded"})

_LENGTH_DIGITS_MOST = 15
_QUOTES_SPLIT_MOST = 10_000  # At most so many quotation marks are looked at one by one.

# Matches a JSON string, closed or cut off by the end of the body, or one structural character. The quantifiers are
# possessive and the pattern matches any beginning of a string, so no body makes it backtrack.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},:]', re.DOTALL)


class _Unacceptable(ValueError):
    """Raised for JSON that the parser accepts and the API refuses. The message says why."""


async def read_object(request: Request, most_bytes: int, *, optional: bool = False) -> dict[str, object]:
    """Read a request's body as a JSON object. If the body is `optional`, an empty body gives an empty object.

    Raises Refusal: 415 for another media type or an encoding, 413 above `most_bytes` (by its Content-Length before the
    body is read, by the received bytes while it is read), 400 for anything but one whole JSON object.
    """
    _check_media_type(request.headers.get("content-type"))
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise Refusal(UNSUPPORTED_MEDIA_TYPE, "Send the body uncompressed, without a Content-Encoding.")
    _check_length(request.headers.get("content-length"), most_bytes)
    try:
        raw = await request.read(most_bytes)
    except BodyTooLarge:
        raise _too_large(most_bytes) from None
    except BodyBroken:
        raise _malformed("The body is incomplete: it ends too early, or its chunks are framed wrongly.") from None
    return {} if optional and not raw else parse_object(raw)


def parse_object(raw: bytes) -> dict[str, object]:
    """Parse the JSON object in the bytes of a request's body.

    Raises Refusal (400) if the bytes of the body contain no JSON object.
    """
    try:
        text = raw.decode("utf-8")
        _check_shape(text)
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not UTF-8: byte {error.start} is wrong.") from None
    except json.JSONDecodeError as error:
        if not raw.strip():
            raise _malformed("The body is empty.") from None
        reason = error.msg.removesuffix(" at")  # some of the JSON parser's messages end with " at"
        detail = f"The body is not JSON: {reason} at line {error.lineno}, column {error.colno}."
        raise _malformed(detail) from None
    except _Unacceptable as error:
        raise _malformed(f"The body {error}.") from None
    except (ValueError, RecursionError):
        # Python raises ValueError for an integer of more than 4,300 digits.
        raise _malformed("The body has a number that is too long.") from None
    if not isinstance(value, dict):
        raise _malformed("The body is JSON, but not an object.")
    return value


def _malformed(detail: str) -> Refusal:
    return Refusal(MALFORMED_BODY, detail)


def _too_large(most_bytes: int) -> Refusal:
    return Refusal(TOO_LARGE, f"The body has more than {most_bytes} bytes. No valid request needs more.")


def _check_media_type(value: str | None) -> None:
    media_type = (value or "").partition(";")[0].strip().lower()
    if media_type not in _MEDIA_TYPES and not media_type.endswith("+json"):
        raise Refusal(UNSUPPORTED_MEDIA_TYPE, "Send JSON, with Content-Type: application/json.")


def _check_length(value: str | None, most_bytes: int) -> None:
    """Refuse a Content-Length above `most_bytes`.

    A malformed Content-Length is ignored, because reading the body counts its bytes.
    """
    digits = (value or "").strip()
    if not (digits.isascii() and digits.isdigit()):
        return
    digits = digits.lstrip("0")
    if len(digits) > _LENGTH_DIGITS_MOST or int(digits or "0") > most_bytes:
        raise _too_large(most_bytes)


def _check_shape(text: str) -> None:
    """Refuse deeply nested JSON and masses of small values, before parsing them takes stack and memory."""
    strings, rest = _without_strings(text) if text.count('"') <= _QUOTES_SPLIT_MOST else (0, text)
    depth = 0
    for count, match in enumerate(_TOKENS.finditer(rest), start=1 + strings):
        start = match[0][0]
        if start in "[{":
            depth += 1
        elif start in "]}":
            depth -= 1
        if depth > DEPTH_MOST:
            raise _Unacceptable(f"is nested more than {DEPTH_MOST} deep")
        if count > TOKENS_MOST:
            raise _Unacceptable(f"has more than {TOKENS_MOST} strings and punctuation marks of JSON")


def _without_strings(text: str) -> tuple[int, str]:
    """Return how many JSON strings a text has, and the rest of the text.

    The strings are found as `_TOKENS` finds them, but in a hundredth of the time that `_TOKENS` takes for a long one.
    """
    strings, within, rest = 0, False, []
    *quoted, last = text.split('"')
    for part in quoted:
        if not within:
            rest.append(part)
            strings += 1
            within = True
        elif not part.endswith("\\") or (len(part) - len(part.rstrip("\\"))) % 2 == 0:
            within = False
    return strings, "".join(rest if within else [*rest, last])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Unacceptable("has an object with the same name twice")
    return found


def _no_constant(name: str) -> object:
    raise _Unacceptable(f"is not JSON: {name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise _Unacceptable("has a number that is too large")
    return value
