"""Tests the table of known mistakes. `python -m mutation.mistakes`, a part of the campaign, tests that each is noticed.

If a change of the code fails a test of this file, look for the place where the mistake could be made now, and write it
into `mutation/mistakes.toml`. If no such place is left, delete the mistake.
"""

import ast
from pathlib import Path

import pytest

from mutation.mistakes import Mistake, read

ROOT = Path(__file__).resolve().parents[3]
MISTAKES = read()


@pytest.mark.parametrize("mistake", MISTAKES, ids=[one.name for one in MISTAKES])
def test_a_known_mistake_can_still_be_made(mistake: Mistake):
    text = mistake.mutant(ROOT).put_into((ROOT / mistake.path).read_text("utf-8"))
    assert mistake.new != mistake.old
    ast.parse(text)
    assert mistake.promise.endswith(".")


@pytest.mark.parametrize("mistake", MISTAKES, ids=[one.name for one in MISTAKES])
def test_a_known_mistake_names_its_tests(mistake: Mistake):
    assert mistake.tests
    for name in mistake.tests:
        path, _, function = name.partition("::")
        assert f"\ndef {function.partition('[')[0]}(" in (ROOT / path).read_text("utf-8"), name
