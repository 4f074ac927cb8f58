"""Compares JSON values, with exact decimals: 1 equals 1.0, true does not equal 1, and 0.3 is a multiple of 0.1."""

import json
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from math import inf
from typing import Any, Final

_EXACT_DIGITS: Final = 10**15  # Integers below 10**15, and powers of ten up to 10**22, are exact as doubles.
_EXACT_ZEROS: Final = 22
_DIGEST_BYTES: Final = 10
_TABLE_BYTES: Final = 2  # So many bytes of a digest choose its table.
# Python's hash of a number is its remainder by this prime on a platform of 32 bits. So a client could give a thousand
# larger numbers, or numbers with fractions, one hash, and each look at them would take a thousand comparisons.
HASHED: Final = 2**31 - 1
_SORTED: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode

# A value's key: two values are equal in JSON if and only if their keys are equal in Python.
type Key = tuple[str, object]

TOO_LARGE: Final[Key] = ("too large", None)
_CONTAINERS: Final = frozenset({dict, list})


def key_of(value: object, most: int) -> Key:
    """Return a value's key for comparing it; TOO_LARGE if it has more than `most` values and characters.

    So an answer's text is not written out only to find that it is longer than each value of an `enum`.
    """
    if type(value) not in _CONTAINERS:
        return scalar_key(value)
    if size_of(value, most, character=1) > most:
        return TOO_LARGE
    return ("object" if type(value) is dict else "array", _canonical(value))


def scalar_key(value: object) -> Key:
    """Return the key for comparing a string, a number, a boolean or null."""
    kind = type(value)
    if kind is str:
        return ("string", value)
    if kind is int:
        return ("number", value if -1 < value < HASHED else str(value))  # type: ignore[operator]
    if kind is float:
        number: float = value  # type: ignore[assignment]
        return scalar_key(int(number)) if number.is_integer() else ("number", repr(number))
    return ("name", value)


def size_of(value: object, most: float = inf, *, character: int = 0) -> int:
    """Count the values that a JSON value consists of, itself included. It stops counting above `most`.

    Each character of the strings and names in an array or object counts `character`.
    """
    size = 1
    level: list[Any] = [value] if type(value) in _CONTAINERS else []
    while level and size <= most:
        inside = [*chain.from_iterable(each.values() if type(each) is dict else each for each in level)]
        size += len(inside)
        if character:
            names = chain.from_iterable(each for each in level if type(each) is dict)
            size += sum([len(text) for text in chain(inside, names) if type(text) is str]) * character
        level = [one for one in inside if type(one) in _CONTAINERS]
    return size


def identity(value: object) -> bytes:
    """Return a digest of any value that is no deeper than an output may be. Equal values have equal digests."""
    kind = type(value)
    # The JSON of no other value begins as a string's.
    text = f'"{value}' if kind is str else repr(value) if kind is int else _canonical(value)
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def _canonical(value: object) -> str:
    """Write a value so that equal values are written alike: 1 and 1.0 are the same number in JSON."""
    text = _SORTED(value)
    return _SORTED(_normal(value)) if ".0" in text or "e+" in text else text


class Digests:
    """A set of digests of _DIGEST_BYTES each. A set of Python's objects takes several times as much memory.

    Digests that begin alike are in one table, one behind the other, so that a table is short and grows in a short time.
    """

    def __init__(self) -> None:
        self._tables: dict[bytes, bytearray] = {}

    def add(self, digest: bytes) -> bool:
        """Add a digest. Return whether it is new."""
        begin, rest = digest[:_TABLE_BYTES], digest[_TABLE_BYTES:]
        table = self._tables.get(begin)
        if table is None:
            self._tables[begin] = bytearray(rest)
            return True
        at = table.find(rest)
        while at > 0 and at % len(rest):  # across two digests
            at = table.find(rest, at + 1)
        if at < 0:
            table += rest
        return at < 0


def _normal(value: object) -> object:
    """Copy a value, with whole numbers as ints."""
    if isinstance(value, dict):
        return {name: _normal(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def decimal_of(number: float) -> tuple[int, int]:
    """Return a number as an exact decimal, `(digits, exponent)`: digits times ten to the power of the exponent.

    A float counts as the shortest decimal that is read as this float: 0.1 is exactly a tenth.
    """
    if isinstance(number, int):
        return number, 0
    mantissa, _, exponent = repr(number).partition("e")
    if exponent and "." not in mantissa:
        return int(mantissa), int(exponent)
    whole, _, fraction = mantissa.partition(".")
    return int(whole + fraction), (int(exponent) if exponent else 0) - len(fraction)


def is_multiple(number: float, divisor: tuple[int, int]) -> bool:
    """Whether the number is a whole multiple of `divisor`, a decimal as of `decimal_of`, in exact arithmetic.

    All numbers are finite doubles or integers not beyond the largest double. No number in the calculation has many more
    digits than the longer of the two, however far apart they are.
    """
    of_digits, of_exponent = divisor
    if -_EXACT_ZEROS <= of_exponent <= 0 and -_EXACT_DIGITS < number < _EXACT_DIGITS:
        # Two different decimals of up to 15 digits never give the same float, and Python divides two integers to the
        # nearest float. So a nearest multiple of up to 15 digits is the only one that the number may equal.
        scale = _power_of_ten(-of_exponent)
        nearest = round(number * scale / of_digits) * of_digits
        if -_EXACT_DIGITS < nearest < _EXACT_DIGITS:
            return nearest / scale == number
    digits, exponent = decimal_of(number)
    zeros = exponent - of_exponent
    if zeros >= 0:
        return digits * pow(10, zeros, of_digits) % of_digits == 0
    return digits % scaled(of_digits, -zeros) == 0


def scaled(digits: int, zeros: int) -> int:
    """Append `zeros` zeros to the whole number `digits`."""
    return digits * _power_of_ten(zeros)


@lru_cache(1_024)
def _power_of_ten(zeros: int) -> int:
    return int(10**zeros)
