"""Reading a model's output: what counts as JSON, which disguises are removed, what is refused, and linear work."""

import pytest

from src.features.structured import reading
from src.features.structured.reading import read_output
from tests.support.steps import counted


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
    """Values exactly at the limits are read."""
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
