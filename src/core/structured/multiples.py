"""Tests which floats are whole multiples of a schema's `multipleOf`, in exact decimals, many floats at a time."""

import re
from math import gcd
from typing import Final

from .equality import EXACT_DIGITS, EXACT_ZEROS, FLOAT_DIGITS, is_multiple

_EXPONENT_MOST: Final = 308  # The largest exponent of a float.
# What is no digit in the decimals of floats. A sign, and zeros at the end, do not matter for the remainder.
_NO_DIGITS: Final = re.compile(r"\.|e[+-][0-9]+")


class FloatMultiples:
    """Tests floats by one divisor, `(digits, exponent)` as of `decimal_of`.

    Most floats are tested by a division of floats. For the others the decimal is written, which takes several times as
    long. From `_sure` on, a float's last digit counts so much that the factors 2 and 5 of the divisor and its exponent
    do not matter: a float is a multiple if its digits are a multiple of `_core`. The digits of many floats are read in
    loops of C.
    """

    def __init__(self, divisor: tuple[int, int]) -> None:
        self._divisor = divisor
        digits, exponent = divisor
        self._digits = digits
        self._moduli: dict[int, int] = {}  # By `zeros`: see `_modulus`. A float's exponent has some 640 values.
        self._scale = 10**-exponent if -EXACT_ZEROS <= exponent <= 0 else None
        self._core, factors = _without_twos_and_fives(digits)
        sure = exponent + FLOAT_DIGITS + factors
        self._sure = float(f"1e{sure}") if sure <= _EXPONENT_MOST else float("inf")

    def one(self, value: float) -> bool:
        """Whether a float is a multiple."""
        return (self._core == 1 and abs(value) >= self._sure) or is_multiple(value, self._divisor)

    def every(self, values: list[float]) -> bool:
        """Whether all floats are multiples."""
        return not self.which_not(values)

    def which_not(self, values: list[float]) -> list[int]:
        """Return the positions of the floats that are no multiples."""
        left = list(range(len(values))) if self._scale is None else self._not_at_once(values, self._scale)
        if not left:
            return left
        far = [at for at in left if not -self._sure < values[at] < self._sure]
        near = left if not far else [at for at in left if -self._sure < values[at] < self._sure]
        failed = self._near_misfits(values, near)
        return sorted(failed + self._far_misfits(values, far)) if far and self._core > 1 else failed

    def _not_at_once(self, values: list[float], scale: int) -> list[int]:
        """Return the positions of the floats that a division of floats does not show to be multiples: `is_multiple`."""
        digits = self._digits
        return [
            at
            for at, value in enumerate(values)
            if not (
                -EXACT_DIGITS < value < EXACT_DIGITS
                and -EXACT_DIGITS < (nearest := round(value * scale / digits) * digits) < EXACT_DIGITS
                and nearest / scale == value
            )
        ]

    def _near_misfits(self, values: list[float], positions: list[int]) -> list[int]:
        """Test the exact decimals of floats. Each has a whole number of digits, and zeros behind it or the divisor."""
        exponent, moduli = self._divisor[1], self._moduli
        failed = []
        for at in positions:
            mantissa, _, power = repr(values[at]).partition("e")
            whole, _, fraction = mantissa.partition(".")
            zeros = (int(power) if power else 0) - len(fraction) - exponent
            if int(whole + fraction) % (moduli.get(zeros) or self._modulus(zeros)):
                failed.append(at)
        return failed

    def _modulus(self, zeros: int) -> int:
        """Return what the digits of a float must be a multiple of, if so many zeros stand behind them.

        If `zeros` is below 0, the zeros stand behind the divisor. No float has digits enough for many of them, except
        zero.
        """
        if zeros >= 0:
            modulus = self._digits // gcd(self._digits, 10**zeros)
        else:
            modulus = self._digits * int(10 ** min(-zeros, FLOAT_DIGITS + 1))
        self._moduli[zeros] = modulus
        return modulus

    def _far_misfits(self, values: list[float], positions: list[int]) -> list[int]:
        texts = _NO_DIGITS.sub("", repr([values[at] for at in positions]))[1:-1].split(", ")
        remainders = map(self._core.__rmod__, map(int, texts))
        return [at for at, remainder in zip(positions, remainders, strict=True) if remainder]


def _without_twos_and_fives(digits: int) -> tuple[int, int]:
    """Divide a whole number above 0 by 2 and 5 as often as possible. Returns the quotient, and the larger count."""
    counts = []
    for prime in (2, 5):
        count = 0
        while digits % prime == 0:
            digits //= prime
            count += 1
        counts.append(count)
    return digits, max(counts)
