"""Reads a model's output: JSON as it stands, else the one object that it holds in disguise."""

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

# A whole number with this many digits may be beyond the largest double.
_MAYBE_INFINITE = re.compile(r"[0-9]{309}")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_BRACES = bytes.maketrans(b"[]", b"{}")
_NAME_CHARS_MOST = 100


@dataclass(frozen=True, slots=True)
class OutputReading:
    """What an output says: `value`, and the same as `compact` JSON; or a `fault`.

    `repaired`: it was no JSON as it stood.
    """

    value: dict[str, object] | None = None
    compact: str = ""
    repaired: bool = False
    fault: Fault | None = None


class _Unacceptable(ValueError):
    """JSON that parses but is refused. The message says what was expected."""


class _NotJson(ValueError):
    """Text that is not JSON. The message says what was expected."""


def read_output(text: str) -> OutputReading:
    """Read the JSON object in an output, with finite numbers, each name once in an object, and whole characters.

    If the text is not JSON as it stands, the disguises that `object_in` knows are taken away.
    JSON of another type stays as it is: it is a fault, and no object is taken out of it.
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
    """Read the one object in a text that is not JSON."""
    try:
        return _reading(object_in(text), repaired=True)
    except NoObject as error:
        return _faulty(str(error))
    except _NotJson:
        return _faulty(expected)  # with the place in the text that the model wrote
    except _Unacceptable as error:
        return _faulty(str(error))


def _reading(text: str, *, repaired: bool) -> OutputReading:
    """Read a text that has to be JSON. Raises _NotJson, or _Unacceptable."""
    skeleton = _skeleton(text)
    if _levels_at_most(skeleton) > VALUE_LEVELS_MOST:
        raise _Unacceptable(f"JSON that is at most {VALUE_LEVELS_MOST} levels deep")
    value = _parse(text, is_large=_MAYBE_INFINITE.search(skeleton) is not None)
    try:
        written = compact(value)
    except ValueError:
        raise _infinite() from None
    # The parser keeps the last of two equal names.
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
    """Return what stands outside strings in a JSON text, or before its first mistake. What follows it is of no use.

    Backslashes stand only in strings. Without the escaped ones, and then without escaped quotation marks, each
    quotation mark begins or ends a string.
    """
    if "\\" in text:
        text = text.replace("\\\\", "").replace('\\"', "")
    return "".join(text.split('"')[::2])


def _levels_at_most(skeleton: str) -> int:
    """Return how deep brackets are nested; at least that, if they do not match. It stops where it is too deep."""
    brackets = skeleton.encode("ascii", "replace").translate(_BRACES, _NOT_BRACKETS)
    levels = 0
    size = -1
    while brackets and len(brackets) != size and levels <= VALUE_LEVELS_MOST:
        size = len(brackets)
        brackets = brackets.replace(b"{}", b"")  # the innermost level of each nest
        levels += 1
    return levels + brackets.count(b"{")


def _parse(text: str, *, is_large: bool) -> object:
    """Parse JSON, with a look at each whole number if one `is_large`. Infinite floats are left to the writer."""
    try:
        found: object = json.loads(text, parse_constant=_no_constant, parse_int=_finite_integer if is_large else None)
    except json.JSONDecodeError as error:
        reason = error.msg.removesuffix(" at")  # some of Python's reasons end with it
        raise _NotJson(f"JSON; at line {error.lineno}, column {error.colno}: {reason}") from None
    return found


def _refuse_repeated(text: str) -> Never:
    """Find the name that an object has twice. Raises _Unacceptable."""
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
    # Python refuses to read much longer integers.
    if len(digits) > 310 or not is_finite_integer(int(digits)):
        raise _infinite()
    return int(digits)
