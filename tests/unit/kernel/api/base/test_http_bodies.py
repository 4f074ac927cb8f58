"""The JSON reader of request bodies is strict, and hostile bodies cost it little."""

import pytest

from src.kernel.api.base import fields
from src.kernel.api.base.fields import TOKENS_MOST, parse_object
from src.kernel.api.base.problems import Refusal
from tests.support.steps import counted

MOST_BYTES = 6_200_000  # the largest body that is accepted with the default MAX_INPUT_BYTES


@pytest.mark.parametrize(
    "unit", [b"[", b"{", b'{"a":', b'"', b'\\"', b"\\", b'"a"', b'"a":1,', b"1,", b"[],", b'"\\', b"\xc3\xa9", b" "]
)
@pytest.mark.parametrize("opening", [b"", b'{"a":"', b'{"a":['])
def test_hostile_bodies_cost_little(opening: bytes, unit: bytes) -> None:
    body = opening + unit * (MOST_BYTES // len(unit))
    with counted(fields) as steps, pytest.raises(Refusal):
        parse_object(body)
    assert steps.lines <= 7 * TOKENS_MOST


def test_large_sound_body() -> None:
    text = '[{"a": 1}, "b"]\n' * 60_000
    raw = b'{"input": "' + text.replace('"', '\\"').replace("\n", "\\n").encode() + b'"}'
    assert parse_object(raw) == {"input": text}
