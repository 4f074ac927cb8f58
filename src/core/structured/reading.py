"""Reads a model's output as JSON; if it is not JSON, finds the one JSON object in it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Never

from ..limits import VALUE_LEVELS_MOST
from .check import Fault
from .disguises import NoObject, object_in
from .document import is_finite_integer
from .pointers import shown

# A whole number with 309 digits may be beyond the largest double.
_MAYBE_INFINITE = re.compile(r"[0-9]{309}")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_BRACES = bytes.maketrans(b"[]", b"{}")
_NAME_CHARS_MOST = 100


@dataclass(frozen=True, slots=True)
class OutputReading:
    """What was read from a model's output, either a `value`, with the same as `compact` JSON, or a `fault`.

    `repaired` says that the model's output was not JSON, and the object was taken out of it.
    """

    value: dict[str, object] | None = None
    compact: str = ""
    repaired: bool = False
    fault: Fault | None = None


class _Unacceptable(ValueError):
    """Raised for a text that is JSON but not acceptable as an output.

    The message of `_Unacceptable` says what was expected.
    """


class _NotJson(ValueError):
    """A text is not JSON. The message of `_NotJson` says what was expected."""


def read_output(text: str) -> OutputReading:
    """Read the JSON object in a model's output: numbers finite, each name once in an object, characters whole.

    If a model's output is not JSON, `object_in` looks for the one JSON object in it. If a model's output is JSON but
    not an object, that is a fault, and no object is taken out of it.
    """
    try:
        return _reading(text, repaired=False)
    except _Unacceptable as error:
        return _faulty(str(error))
    except _NotJson as error:
        return _repaired(text, str(error))


def compact(value: object) -> str:
    """Write a value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _repaired(text: str, expected: str) -> OutputReading:
    """Read the one JSON object in an output that is not JSON itself."""
    try:
        return _reading(object_in(text), repaired=True)
    except NoObject as error:
        return _faulty(str(error))
    except _NotJson:
        return _faulty(expected)  # the place of the syntax error in the model's own text, before any repair
    except _Unacceptable as error:
        return _faulty(str(error))


def _reading(text: str, *, repaired: bool) -> OutputReading:
    """Read a text that must be JSON as a whole. Raises _NotJson, or _Unacceptable."""
    skeleton = _skeleton(text)
    if _levels_at_most(skeleton) > VALUE_LEVELS_MOST:
        raise _Unacceptable(f"JSON that is at most {VALUE_LEVELS_MOST} levels deep")
    value = _parse(text, is_large=_MAYBE_INFINITE.search(skeleton) is not None)
    try:
        written = compact(value)
    except ValueError:
        raise _infinite() from None
    # Fewer colons in the rewritten JSON than in the model's text mean that an object had a name twice: the parser keeps
    # only the last of two equal names.
    if _skeleton(written).count(":") < skeleton.count(":"):
        _refuse_repeated(text)
    if not written.isascii():
        try:
            written.encode()
        except UnicodeEncodeError:
            expected = "text without halves of surrogate pairs, which are not characters"
            raise _Unacceptable(expected) from None
    return OutputReading(value, written, repaired) if isinstance(value, dict) else _faulty("a JSON object")


def _faulty(expected: str) -> OutputReading:
    return OutputReading(fault=Fault("", expected))


def _skeleton(text: str) -> str:
    """Return the part of a JSON text that is outside strings.

    If the text has a syntax error, the part of the result after the error means nothing. In JSON, backslashes occur
    only in strings. Once escaped backslashes and then escaped quotation marks are removed, each remaining quotation
    mark begins or ends a string.
    """
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    return "".join(text.split('"')[::2])


def _levels_at_most(skeleton: str) -> int:
    """Return how deep brackets are nested, or more if they do not match.

    Stops counting levels when VALUE_LEVELS_MOST is passed.
    """
    brackets = skeleton.encode("ascii", "replace").translate(_BRACES, _NOT_BRACKETS)
    levels = 0
    size = -1
    while brackets and len(brackets) != size and levels <= VALUE_LEVELS_MOST:
        size = len(brackets)
        brackets = brackets.replace(b"{}", b"")  # removes each innermost pair
        levels += 1
    return levels + brackets.count(b"{")


def _parse(text: str, *, is_large: bool) -> object:
    """Parse JSON.

    `is_large` says that some whole number in the text may be too large, so that each number is checked. `_parse` does
    not find infinite floats, but writing them as JSON fails later.
    """
    try:
        found: object = json.loads(text, parse_constant=_no_constant, parse_int=_finite_integer if is_large else None)
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at")  # some of Python's error messages end with " at"
        raise _NotJson(f"JSON; at line {error.lineno}, column {error.colno}: {reason}") from None
    return found


def _refuse_repeated(text: str) -> Never:
    """Raise _Unacceptable, with the name that an object in the text has twice."""
    json.loads(text, object_pairs_hook=_unique)
    raise AssertionError("no name is repeated")


def _unique(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) < len(pairs):
        twice = shown(_first_repeated(name for name, _ in pairs), _NAME_CHARS_MOST)
        raise _Unacceptable(f"each name once in an object; {json.dumps(twice)} stands twice")


def _first_repeated(names: Iterable[str]) -> str:
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    raise AssertionError("no name is repeated")


def _no_constant(name: str) -> object:
    raise _Unacceptable(f"finite numbers; {name} is none")


def _infinite() -> _Unacceptable:
    return _Unacceptable("finite numbers; one is larger than the largest double")


def _finite_integer(digits: str) -> int:
    # Digits are counted first, because Python refuses to read much longer integers.
    if len(digits) > 310 or not is_finite_integer(int(digits)):
        raise _infinite()
    return int(digits)
