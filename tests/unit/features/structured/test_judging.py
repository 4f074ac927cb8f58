"""Judging an output by a schema: accepted, repaired, invalid or cut off, after little work however hostile it is."""

import json
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from src.features.structured.forms import Judgement, judge
from src.features.structured.schema import alone, check, equality, formats
from src.features.structured.schema.check import faults_of
from src.features.structured.schema.equality import decimal_of, is_multiple
from src.features.structured.schema.schema import accepted_schema, parse_schema
from tests.support.evil_outputs import CHARS, evil_outputs, filled, listed
from tests.support.steps import counted

from .test_schema import closed

SCHEMA = parse_schema(closed(n={"type": "integer"}), strict=True)
ANY = parse_schema({"type": "object"}, strict=False)
LONG = parse_schema(closed(l={"type": "array", "items": {"type": "number"}}), strict=True)


def test_an_output_is_repaired_and_checked() -> None:
    assert judge(SCHEMA, '```json\n{"n": 1,}\n```', "stop") == Judgement('{"n":1}', repaired=True)
    judged = judge(SCHEMA, '```json\n{"n": "1",}\n```', "stop")
    assert (judged.output, judged.repaired, judged.code) == (None, False, "invalid_output")
    assert judged.faults == (("/n", "a whole number"),)


@pytest.mark.parametrize("finish_reason", ["length", "content_filter"])
@pytest.mark.parametrize(
    "text",
    [
        '{"n": 1}',
        '{ "n": 1 }' + "\n" * 1_000,
        '```json\n{"n": 1}\n```',
        '{"n": 1,}',
        '{"n": 12',
        '{"n": "x"}',
        "",
        'So {"n": 1}',
    ],
)
def test_an_output_that_was_cut_off_is_never_accepted(text: str, finish_reason: str) -> None:
    judged = judge(SCHEMA, text, finish_reason)
    assert (judged.output, judged.code, len(judged.faults)) == (None, "output_truncated", 1)


@pytest.mark.parametrize("number", ["1.1e300", "-2e300", "1" + "0" * 301])
def test_a_number_that_no_sum_can_hold_is_invalid(number: str) -> None:
    """The sum of 5,000 outputs is a double, whatever they say, so the joined value is valid."""
    rules = {"/a~1b/n": "sum", "/t": "sum", "/f": "first"}
    text = f'{{"a/b": {{"n": {number}}}, "t": 1, "f": {number}}}'
    judged = judge(ANY, text, "stop", rules)
    assert (judged.code, [fault.pointer for fault in judged.faults]) == ("invalid_output", ["/a~1b/n"])
    assert judge(ANY, text, "stop").output is not None
    for fine in ("1e300", "-1e300", "null", "0"):
        assert judge(ANY, text.replace(number, fine), "stop", rules).output is not None
    assert judge(ANY, "{}", "stop", rules).output is not None


def test_faults_are_at_most_ten() -> None:
    judged = judge(SCHEMA, '{"n": 1, ' + ", ".join(f'"x{number}": 1' for number in range(50)) + "}", "stop")
    assert len(judged.faults) == 10


def test_an_output_that_grows_too_long_is_invalid() -> None:
    text = '{"l": [' + ",".join(["1e15"] * 20_000) + "]}"
    assert len(text) < 200_000
    judged = judge(LONG, text, "stop")
    assert judged.code == "invalid_output"
    assert "200,000 characters" in judged.faults[0].expected


# `make bench ARGS=structured-pyodide` measures how long a check takes: so many lines of Python take some 100 ms.
LINES_MOST = 1_000_000
MODULES = (alone, check, equality, formats)


@pytest.mark.parametrize(("schema", "text"), [pytest.param(*rest, id=name) for name, *rest in evil_outputs()])
def test_a_hostile_output(schema: dict[str, Any], text: str) -> None:
    """A check of 100,000 characters takes at most LINES_MOST lines, and refuses a value that it did not check."""
    assert 0.7 * CHARS < len(text) <= 1.05 * CHARS
    parsed, value = parse_schema(schema, strict=False), json.loads(text)
    with counted(*MODULES) as steps:
        faults = faults_of(parsed, value)
    assert steps.lines < LINES_MOST
    without_limit = faults_of(parsed, value, effort=10**9)
    assert faults or not without_limit


def test_hundreds_of_alternatives_of_an_older_release_are_bounded() -> None:
    choices = [{"type": "array", "items": {"minimum": number, "maximum": number}} for number in range(300)]
    text = filled(f"[{number % 300}]" for number in range(CHARS))
    with counted(*MODULES) as steps:
        (fault,) = faults_of(accepted_schema(listed({"anyOf": choices})), json.loads(text))
    assert steps.lines < LINES_MOST
    assert "bounded search" in fault.expected


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
