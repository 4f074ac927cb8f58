"""Reading JSON strictly: the cost of hostile bodies."""

import pytest

from src.http.base import bodies
from src.http.base.bodies import TOKENS_MOST, parse_object
from src.http.base.problems import Refusal
from tests.support.steps import counted

MOST_BYTES = 6_200_000  # the cap on a body at the default MAX_INPUT_BYTES


@pytest.mark.parametrize(
    "unit", [b"[", b"{", b'{"a":', b'"', b'\\"', b"\\", b'"a"', b'"a":1,', b"1,", b"[],", b'"\\', b"\xc3\xa9", b" "]
)
@pytest.mark.parametrize("opening", [b"", b'{"a":"', b'{"a":['])
def test_hostile_bodies_cost_little(opening: bytes, unit: bytes) -> None:
    """A body of the largest size, whatever it repeats, is refused after a limited number of values, a few lines each.

    A regular expression that backtracks costs no lines, but would take hours.
    """
    body = opening + unit * (MOST_BYTES // len(unit))
    with counted(bodies) as steps, pytest.raises(Refusal):
        parse_object(body)
    assert steps.lines <= 7 * TOKENS_MOST


def test_large_sound_body() -> None:
    """The reader accepts a text full of quotes, brackets and escapes."""
    text = '[{"a": 1}, "b"]\n' * 60_000
    raw = b'{"input": "' + text.replace('"', '\\"').replace("\n", "\\n").encode() + b'"}'
    assert parse_object(raw) == {"input": text}
