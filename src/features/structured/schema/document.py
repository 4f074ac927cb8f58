"""Checks that an output schema is JSON of a bounded size and depth, with finite numbers and storable characters."""

import json
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate, chain
from math import isfinite
from types import NoneType
from typing import Any, Final

from ....kernel.domain.limits import SCHEMA_BYTES_MOST
from .equality import DEPTH_MOST
from .keywords import refused
from .pointers import Path

_MAGNITUDE_MOST = 10**309  # Integers from 10**309 on are beyond the largest double.
_CONTAINERS: Final = frozenset({dict, list})
_KINDS: Final = frozenset({dict, list, str, int, float, bool, NoneType})
_SURROGATE: Final = "This text holds half of a surrogate pair, which is not a character."
_NUL: Final = "This text holds a NUL character (U+0000), which the database cannot store."
_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

# The arrays and objects of one level of a document.
type _Level = list[Any]


def check_document(document: dict[str, object]) -> None:
    """Refuse a schema document that is too large, too deep or not JSON, before it is compiled. Raises SchemaRefused.

    The check goes through the document level by level, in loops of C, so it does not recurse. It stops as soon as the
    document is surely too large: `size` is how many bytes of compact JSON what was read takes at least.
    """
    levels = list[_Level]()
    level: _Level = [document]
    size = 0
    while level:
        levels.append(level)
        members = _members(level)
        if len(levels) > DEPTH_MOST:
            raise refused(_path(levels, 0), f"The schema is nested more than {DEPTH_MOST} deep as JSON.")
        names = list(chain.from_iterable(one for one in level if type(one) is dict))
        texts = [member for member in members if type(member) is str]
        size += len(level) + len(members) + 3 * len(names) + 2 * len(texts) + _length(names) + _length(texts)
        if size > SCHEMA_BYTES_MOST:
            raise _too_large()
        if not _are_names(names):
            raise _name_refused(levels)
        if not _are_good(members, texts):
            raise _member_refused(levels, members)
        level = [member for member in members if type(member) in _CONTAINERS]
    if len(_COMPACT(document).encode()) > SCHEMA_BYTES_MOST:
        raise _too_large()


def _too_large() -> Exception:
    return refused(None, f"The schema has more than {SCHEMA_BYTES_MOST:,} bytes as compact JSON.")


def _members(level: _Level) -> list[Any]:
    """Return the values in all arrays and objects of a level."""
    return [member for one in level for member in (one.values() if type(one) is dict else one)]


def _length(texts: Iterable[object]) -> int:
    """Return how many characters the texts have. What is no text does not count."""
    return sum(len(text) for text in texts if isinstance(text, str))


def _are_names(names: list[Any]) -> bool:
    return {str}.issuperset(map(type, names)) and _is_whole("".join(names))


def _are_good(members: list[Any], texts: list[str]) -> bool:
    """Whether all members of a level are JSON, apart from what is inside arrays and objects."""
    kinds = set(map(type, members))
    if not kinds <= _KINDS or not _is_whole("".join(texts)):
        return False
    if float in kinds and not all(map(isfinite, (member for member in members if type(member) is float))):
        return False
    numbers = [member for member in members if type(member) is int] if int in kinds else []
    return not numbers or (is_finite_integer(min(numbers)) and is_finite_integer(max(numbers)))


def _is_whole(text: str) -> bool:
    """Whether neither NUL nor half of a surrogate pair is in the text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _why_not_whole(text: str) -> str:
    return _NUL if "\0" in text else _SURROGATE


def is_finite_integer(value: int) -> bool:
    """Whether an integer is not beyond the largest double."""
    if not -_MAGNITUDE_MOST < value < _MAGNITUDE_MOST:
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _name_refused(levels: list[_Level]) -> Exception:
    """Make the error about the first name of the last level that is not a whole text."""
    for index, one in enumerate(levels[-1]):
        for name in one if type(one) is dict else ():
            if not isinstance(name, str):
                return refused(_path(levels, index), "A name of a property is not a text.")
            if not _is_whole(name):
                return refused((_path(levels, index), name), _why_not_whole(name))
    raise AssertionError("all names are whole texts")


def _member_refused(levels: list[_Level], members: list[Any]) -> Exception:
    """Make the error about the first of the last level's members that is not JSON."""
    at = next(at for at, one in enumerate(members) if not _are_good([one], [one] if type(one) is str else []))
    value = members[at]
    owner, token = _owner(levels[-1], at)
    reason = "This is not JSON."
    if isinstance(value, str):
        reason = _why_not_whole(value)
    elif isinstance(value, float):
        reason = "This number is not finite."
    elif isinstance(value, int):
        reason = "This number is larger than the largest double."
    return refused((_path(levels, owner), token), reason)


def _path(levels: list[_Level], index: int) -> Path:
    """Return the place of the array or object at an index of the last level."""
    tokens = list[str | int]()
    for level in levels[-2::-1]:
        inside = [at for at, member in enumerate(_members(level)) if type(member) in _CONTAINERS]
        index, token = _owner(level, inside[index])
        tokens.append(token)
    path: Path = None
    for token in reversed(tokens):
        path = (path, token)
    return path


def _owner(level: _Level, at: int) -> tuple[int, str | int]:
    """Return which array or object of a level has the member at a position, and the member's name or index in it."""
    ends = list(accumulate(map(len, level)))
    owner = bisect_right(ends, at)
    one = level[owner]
    inside = at - ends[owner] + len(one)
    return owner, list(one)[inside] if type(one) is dict else inside
