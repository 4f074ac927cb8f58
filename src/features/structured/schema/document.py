"""Checks that an output schema is JSON of a bounded size and depth, with finite numbers and storable characters."""

import json
import re
from math import isfinite
from typing import Any, Final

from ....kernel.domain.limits import SCHEMA_BYTES_MOST
from .keywords import refused
from .pointers import Path

DEPTH_MOST: Final = 100  # The most levels of a schema document, and so of the values in it.
# A whole number with so many digits may be beyond every double.
MAYBE_INFINITE: Final = re.compile(r"(?<![0-9])[0-9]{309}")
_NUL: Final = "This text holds a NUL character (U+0000), which the database cannot store."
_CONTAINERS: Final = frozenset({dict, list})
# Writes a value as compact JSON. Raises ValueError for an infinite number.
COMPACT: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def check_document(document: dict[str, object]) -> None:
    """Refuse a schema document that is too large, too deep or not JSON, before it is compiled. Raises SchemaRefused.

    A good document is checked in loops of C, which do not recurse. Only one with a flaw is read value by value.
    """
    level: list[Any] = [document]
    values = levels = 0
    while level:
        levels += 1
        if levels > DEPTH_MOST:
            raise refused(_place(document, level[0]), f"The schema is nested more than {DEPTH_MOST} deep as JSON.")
        members = [member for one in level for member in (one.values() if type(one) is dict else one)]
        values += len(members)
        if values > SCHEMA_BYTES_MOST:
            raise _too_large()
        level = [member for member in members if type(member) in _CONTAINERS]
    try:
        text = COMPACT(document)
        size = len(text.encode())
    except (TypeError, ValueError):
        text, size = "", SCHEMA_BYTES_MOST
    if size > SCHEMA_BYTES_MOST:
        raise _too_large()
    if not text or r"\u0000" in text or MAYBE_INFINITE.search(text):
        _place(document)


def _too_large() -> Exception:
    return refused(None, f"The schema has more than {SCHEMA_BYTES_MOST:,} bytes as compact JSON.")


def _place(document: dict[str, object], wanted: object = None) -> Path:
    """Return where an array or object is in a document. Raises SchemaRefused at a flaw before it."""
    waiting: list[tuple[Path, Any]] = [(None, document)]
    for path, one in waiting:  # the list grows, level by level
        if one is wanted:
            return path
        for token, member in one.items() if type(one) is dict else enumerate(one):
            if type(member) in _CONTAINERS:
                waiting.append(((path, token), member))
            if (flaw := (type(token) is str and _flaw(token)) or _flaw(member)) is not None:
                raise refused((path, token), flaw)
    return None


def _flaw(value: object) -> str | None:
    """Say why a name or a scalar is not JSON that the database can store."""
    try:
        if isinstance(value, str):
            value.encode()
            return _NUL if "\0" in value else None
        if isinstance(value, int | float):
            return None if isfinite(value) else "This number is not finite."
    except UnicodeEncodeError:
        return "This text holds half of a surrogate pair, which is not a character."
    except OverflowError:
        return "This number is larger than the largest double."
    return None if value is None or isinstance(value, dict | list) else "This is not JSON."
