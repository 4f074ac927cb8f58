"""Reading an output as JSON, and judging it by a schema: accepted, repaired, invalid or cut off."""

import json
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from src.features.structured import reading
from src.features.structured.forms import Judgement, judge
from src.features.structured.reading import read_output
from src.features.structured.schema import alone, check, equality, formats
from src.features.structured.schema.check import faults_of
from src.features.structured.schema.equality import decimal_of, is_multiple
from src.features.structured.schema.schema import accepted_schema, parse_schema
from tests.support.evil_outputs import CHARS, evil_outputs, filled, listed
from tests.support.steps import counted

from .test_schema import closed


@pytest.mark.parametrize(
    "text",
    [
        '\ufeff{"a": 1}',
        '<think>first {"a": 2}, no</think>{"a": 1}',
        '<THINK>{</THINK>\n<reasoning>}</reasoning>{"a": 1}',
        '[THINK]x[/THINK]{"a": 1}',
        'It is 1.</think>\n{"a": 1}',
        '```json\n{"a": 1}\n```',
        'Here it is:\n```\n{"a": 1}\n```\nDone [1].',
        'The result: {"a": 1}.',
        '{"a": 1,}',
        '{"a": 1\n,\n}',
        '{"a": 1} // with a comment',
    ],
)
def test_each_disguise_is_taken_away(text: str) -> None:
    found = read_output(text)
    assert found.value == {"a": 1}
    assert found.repaired


def test_trailing_commas_go_where_values_stand_before_them() -> None:
    assert read_output('{"a": [1, {"b": ",}",}, [],], "c": {},}').value == {"a": [1, {"b": ",}"}, []], "c": {}}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "none"),
        ("no object", "none"),
        ("null", "JSON object"),
        ('"{}"', "JSON object"),
        ('[{"a": 1}]', "JSON object"),
        ('[{"a": 1},]', "inside another"),
        ('[{"a": 1}', "inside another"),
        ('Results:\n[\n  {"a": 1}', "inside another"),
        ('"r": {"a": 1}', "inside another"),
        ('1, {"a": 1}', "inside another"),
        ('{"a": 1}, 2', "inside another"),
        ('{"a": 1}]', "inside another"),
        ('{"a": 1}{"a": 1}', "more than one"),
        ('{"a": 1}\n\n{"b": 2}', "more than one"),
        ('{"a": 1}}', "brace too many"),
        ('}{"a": 1}', "closing brace"),
        ('{"a": 1', "ends inside"),
        ('{"a": "x', "ends inside"),
        ('{"a": {"b": 1}', "ends inside"),
        ('x {"a": {"b": 1}', "ends inside"),
        ('```json\n{"a": 1}\n```\nor\n```json\n[2]\n```', "code fence"),
        ('```\nls\n```\n```json\n{"a": 1}\n```', "code fence"),
        ('<think>{"a": 1}', "does not end"),
        ('Well. <think>{"a": 1}', "do not end"),
        ('Maybe {"a": 1}?</think>I cannot tell.', "in thoughts"),
        ('{"a": 1}\n</Reasoning>', "in thoughts"),
        ('{"a": 1,,}', "at line 1"),
        ('{,"a": 1}', "at line 1"),
        ("{,}", "at line 1"),
        ('{"a": [,]}', "at line 1"),
        ('{"a":,}', "at line 1"),
        ("{'a': 1}", "at line 1"),
        ('{a: 1}', "at line 1"),
        ('{"a": 01}', "at line 1"),
        ('{"a": "\n"}', "at line 1"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1e999}', "largest double"),
        ('{"a": -1e999}', "largest double"),
        (f'{{"a": {"9" * 309}}}', "largest double"),
        (f'{{"a": -{"1" * 400}}}', "largest double"),
        (f'{{"a": {"1" * 5_000}}}', "largest double"),
        (f'Sure: {{"a": {"1" * 5_000}}}', "largest double"),
        ('{"a": 1, "b": {"c": 1, "c": 1}}', '"c" stands twice'),
        ('{"a": 1, "\\u0061": 2}', '"a" stands twice'),
        ('ok {"a:": ":", "a:": 1}', '"a:" stands twice'),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"\\uDC00": 1}', "surrogate"),
        ('{"a": "\ud800"}', "surrogate"),
        ('{"a": ' + "[" * 64 + "]" * 64 + "}", "64 levels"),
        ('{"a": ' + "[" * 100_000, "64 levels"),
    ],
)  # fmt: skip
def test_what_is_refused_says_why(text: str, word: str) -> None:
    found = read_output(text)
    assert found.value is None
    assert found.fault is not None
    assert found.fault.pointer == ""
    assert word in found.fault.expected


def test_values_at_the_limits_are_read() -> None:
    deep = '{"a": ' + "[" * 63 + "]" * 63 + "}"
    assert read_output(deep).value is not None
    assert read_output('{"a": "[[[", "b": ' + "[" * 63 + '"]"' + "]" * 63 + "}").value is not None
    assert read_output(f'{{"a": {"9" * 308}, "b": 1.7976931348623157e308}}').value is not None
    assert read_output('{"a\\\\": "\\"{:", "b\\"": "\\\\\\":", "c": "\\ud83d\\ude00"}').value == {
        "a\\": '"{:',
        'b"': '\\":',
        "c": "😀",
    }


@pytest.mark.parametrize(
    "unit",
    ["{", '{"', '{"a":', '{"a":1}', "[", '[{"a":', "<think>", "</think>", "<think></think>", '"', "\\", ",",
     "{,", " ", "\n", "[ \n", '"a": {"', "{}", "}", "9", "1e9,", '{"a":1,}', "```json\n", '"\\"', "{[", "\ud800"],
)  # fmt: skip
@pytest.mark.parametrize("frame", ["{}", "x {{{}", '{{"a": {}}}', '<think>{}</think>{{"a": 1}}', '{{"a": "{}"}}'])
def test_hostile_texts_take_linear_time(unit: str, frame: str) -> None:
    lines = []
    for size in (2_000, 4_000):
        with counted(reading, reading) as steps:
            read_output(frame.format(unit * size))
        lines.append(steps.lines)
    assert lines[1] <= lines[0] * 2 + 200
    assert lines[1] < 4_000 * len(unit) * 12 + 1_000


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
