"""Judging an output by a schema: accepted, repaired, invalid or cut off."""

import pytest

from src.features.structured.forms import Judgement, judge
from src.features.structured.schema.schema import parse_schema

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
