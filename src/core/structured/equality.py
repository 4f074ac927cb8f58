"""JSON's equality, and exact decimals: 1 equals 1.0, true does not equal 1, and 0.3 is a multiple of 0.1."""

import json
from hashlib import sha256
from typing import Final

_EXACT_DIGITS: Final = 10**15  # shorter integers, and these powers of ten, are doubles
_EXACT_ZEROS: Final = 22

# A key for a value's comparison. Two values are equal in JSON if and only if their keys are equal in Python.
type Key = tuple[str, object]

TOO_LARGE: Final[Key] = ("too large", None)
DEPTH_MOST: Final = 100  # of a schema, and so of the values that it names


def key_of(value: object, most: int) -> Key:
    """Return the key of a value that has at most `most` values in it and is at most DEPTH_MOST deep; else TOO_LARGE.

    It looks at no more than `most` values, however large the value is.
    """
    return _Keys(most).key(value, DEPTH_MOST)


class _Keys:
    """Makes the key of one value."""

    def __init__(self, most: int) -> None:
        self._left = most

    def key(self, value: object, deeper: int) -> Key:
        self._left -= 1
        if self._left < 0 or deeper < 0:
            self._left = -1
            return TOO_LARGE
        if isinstance(value, dict):
            if len(value) > self._left:
                self._left = -1
                return TOO_LARGE
            members = [(name, self.key(member, deeper - 1)) for name, member in value.items()]
            return TOO_LARGE if self._left < 0 else ("object", frozenset(members))
        if isinstance(value, list):
            if len(value) > self._left:
                self._left = -1
                return TOO_LARGE
            items = tuple([self.key(item, deeper - 1) for item in value])
            return TOO_LARGE if self._left < 0 else ("array", items)
        return scalar_key(value)


def scalar_key(value: object) -> Key:
    """Return the key of a string, a number, a boolean or null."""
    if isinstance(value, str):
        return ("string", value)
    if isinstance(value, bool) or value is None:
        return ("name", value)
    return ("number", value)


def size_of(value: object) -> int:
    """Count the values in a value, itself included."""
    found = [value]
    for one in found:
        if isinstance(one, dict):
            found.extend(one.values())
        elif isinstance(one, list):
            found.extend(one)
    return len(found)


def identity(value: object) -> Key:
    """Return a key of constant size for any value that is no deeper than an output may be.

    An object's or an array's key is a digest, so a set of keys holds no second copy of the values.
    """
    if isinstance(value, dict | list):
        text = json.dumps(_normal(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return ("digest", sha256(text.encode()).digest())
    return scalar_key(value)


def _normal(value: object) -> object:
    """Copy a value. A whole number becomes an int, because JSON's 1 and 1.0 are one number."""
    if isinstance(value, dict):
        return {name: _normal(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def decimal_of(number: float) -> tuple[int, int]:
    """Return a number as it is written, exactly: `(digits, exponent)` for digits times ten to the exponent.

    A float counts as the shortest decimal that is read as this float: 0.1 is a tenth.
    """
    if isinstance(number, int):
        return number, 0
    mantissa, _, exponent = repr(number).partition("e")
    whole, _, fraction = mantissa.partition(".")
    return int(whole + fraction), int(exponent or "0") - len(fraction)


def is_multiple(number: float, divisor: tuple[int, int]) -> bool:
    """Whether the number is a whole multiple of a decimal, in exact arithmetic.

    Numbers are finite doubles, or integers below their largest. So no power of ten here has more than 700 digits.
    """
    of_digits, of_exponent = divisor
    if -_EXACT_ZEROS <= of_exponent <= 0 and -_EXACT_DIGITS < number < _EXACT_DIGITS:
        # A float names one decimal of up to 15 digits at most. So the number is the nearest multiple, if that is as
        # short, or it is none. The quotient of two integers is the float that is nearest to it.
        scale = int(10**-of_exponent)
        nearest = round(number * scale / of_digits) * of_digits
        if -_EXACT_DIGITS < nearest < _EXACT_DIGITS:
            return nearest / scale == number
    digits, exponent = decimal_of(number)
    lower = min(exponent, of_exponent)
    return scaled(digits, exponent - lower) % scaled(of_digits, of_exponent - lower) == 0


def scaled(digits: int, zeros: int) -> int:
    """Append zeros to a whole number."""
    return digits * int(10**zeros)
