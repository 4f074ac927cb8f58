"""Tests that the fakes of the simulation behave like workerd: each case must have the same result on both."""

import json
from typing import Any

import pytest

from simulator.platform.sqlite_database import Template
from tests.conformance.cases.registry import WORKER_CASES
from tests.conformance.conftest import Run
from tests.conformance.exceptions import DIFFERENCES, UNCHANGED_KEYS
from tests.conformance.project import run_on_fakes

pytestmark = pytest.mark.runtime


@pytest.mark.parametrize("name", [name for name in WORKER_CASES if name not in DIFFERENCES])
def test_fakes_and_workerd_agree(name: str, in_workerd: Run, template: Template):
    seen = json.loads(run_on_fakes(name, template))
    assert not isinstance(seen, dict) or "case raised" not in seen, seen
    if name in UNCHANGED_KEYS:
        (told, *outcomes), (real, *real_outcomes) = seen, json.loads(in_workerd(name))
        assert [step[:-1] for step in told] == [step[:-1] for step in real]
        assert _typed(outcomes) == _typed(real_outcomes)
        assert {fake[-1] - true[-1] for fake, true in zip(told, real, strict=True)} == {0, 1}
    else:
        assert _typed(seen) == _typed(json.loads(in_workerd(name)))


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_listed_difference_is_still_there(name: str, in_workerd: Run, template: Template):
    assert _typed(json.loads(run_on_fakes(name, template))) != _typed(json.loads(in_workerd(name)))


def _typed(value: Any) -> Any:
    """Return the value together with the types of its numbers, because 5 == 5.0 and True == 1 in Python."""
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return value if isinstance(value, str) else (type(value).__name__, value)
