"""`multipleOf` against exact decimals."""

from fractions import Fraction
from random import Random

import pytest

from src.features.structured.schema.equality import decimal_of, is_multiple


@pytest.mark.parametrize("divisor", [1, 8, 64, 625, 0.0625, 2.5, 1e5, 3, 24, 0.007, 2e-300, 48e280])
def test_floats_are_multiples_of_a_divisor_as_their_decimals_are(divisor: float) -> None:
    random, exact = Random(f"multiples of {divisor}"), Fraction(repr(divisor))
    values = [0.0]
    for exponent in range(-10, 25):
        for _ in range(20):
            near = float(f"{random.randrange(1, 10**17)}e{exponent - 17}") * divisor * random.choice((-1, 1))
            values += [near, round(near / divisor) * divisor]
    expected = [Fraction(repr(value)) % exact == 0 for value in values]
    assert 100 < sum(expected) < len(values) - 100
    assert [is_multiple(value, decimal_of(divisor)) for value in values] == expected
