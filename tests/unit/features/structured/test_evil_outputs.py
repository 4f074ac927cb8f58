"""A hostile output is accepted or refused after little work, whatever the schema."""

import json
from typing import Any

import pytest

from src.features.structured.schema import alone, check, equality, formats
from src.features.structured.schema.check import faults_of
from src.features.structured.schema.schema import accepted_schema, parse_schema
from tests.support.evil_outputs import CHARS, evil_outputs, filled, listed
from tests.support.steps import counted

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
