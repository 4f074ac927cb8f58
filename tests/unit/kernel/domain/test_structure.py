"""Tests what is counted of a structured task."""

import pytest

from src.kernel.domain.codes import TaskCode
from src.kernel.domain.structure import commonest

REFUSED, INVALID, AWAY = TaskCode.MODEL_REFUSED, TaskCode.INVALID_OUTPUT, TaskCode.MODEL_UNAVAILABLE


@pytest.mark.parametrize(
    ("codes", "expected"),
    [([REFUSED], REFUSED), ([AWAY, INVALID, REFUSED, INVALID], INVALID), ([AWAY, REFUSED, REFUSED, AWAY], AWAY)],
)
def test_the_commonest_cause_is_named(codes: list[TaskCode], expected: TaskCode):
    assert commonest(codes) is expected
