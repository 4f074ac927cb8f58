"""Parses the JSON of a line as strictly as RFC 7493 (I-JSON) demands, fast enough for files of 50 MB."""

import json
from math import isfinite
from typing import Never

from pydantic_core import from_json

# JSON with fewer brackets cannot be nested too deep for the parser of the standard library. Of JSON with more brackets
# pydantic's parser first finds out whether it is nested more than about 200 levels deep, which it refuses.
_BRACKETS_SAFE = 100


class LineNotJson(ValueError):
    """A line is not JSON, or not JSON that every parser reads in the same way. The message says why."""


def parse_line(raw: bytes) -> object:
    """Parse the JSON of a line. Raises LineNotJson.

    The line must be UTF-8, without byte order mark. Numbers must be finite, names in an object must differ, and
    characters must be whole: a line must not contain half of a surrogate pair.
    """
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LineNotJson(f"not UTF-8: byte {error.start + 1} of the line is wrong") from None
    try:
        if b"\\u" in raw or raw.count(b"{") + raw.count(b"[") > _BRACKETS_SAFE:
            from_json(raw, cache_strings="none")
        found: object = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
    except LineNotJson:
        raise
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at")  # some of the parser's messages end with " at"
        raise LineNotJson(f"not JSON: {reason} at character {error.pos + 1}") from None
    except (ValueError, RecursionError) as error:
        raise LineNotJson(_reason(str(error))) from None
    return found


def _reason(said: str) -> str:
    """Say in our own words why pydantic's parser, or Python's reader of integers, refused a line."""
    if "surrogate" in said:
        return "not JSON that can be stored: it contains half of a surrogate pair"
    if "recursion" in said:
        return "nested too deep: more than 200 levels"
    if "digits" in said:
        return "not JSON that can be read: a number has too many digits"
    return "not JSON"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise LineNotJson("not JSON with one meaning: an object has the same name twice")
    return found


def _no_constant(name: str) -> Never:
    raise LineNotJson(f"not JSON: {name} is not a JSON number")


def _finite(digits: str) -> float:
    value = float(digits)
    if not isfinite(value):
        raise LineNotJson("not JSON that can be read: a number is too large")
    return value
