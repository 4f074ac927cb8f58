"""Checks the simulator's README: its examples run, its quotes match the code, and its map is complete."""

import re
from textwrap import dedent

import pytest

from tests.support.shell_blocks import ROOT, blocks

README = ROOT / "simulator" / "README.md"
_PYTHON = blocks(README, "python")
QUOTES = [block for block in _PYTHON if block.startswith("# simulator/")]
EXAMPLES = [block for block in _PYTHON if block not in QUOTES]
# The number of examples in each recipe for contributors.
RECIPES = {"Replay a seed": 1, "Write a fault": 3, "Write an invariant": 1, "Write an ablation": 1, "Add a workload": 1}


def test_each_recipe_shows_code():
    sections = re.split(r"^## ", README.read_text("utf-8"), flags=re.MULTILINE)
    found = {section.partition("\n")[0]: section.count("```python\n") for section in sections}
    assert {name: found.get(name) for name in RECIPES} == RECIPES


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str):
    assert "assert " in example
    # With as many empty lines before the example as in the README, a traceback shows the right line.
    before = README.read_text("utf-8").partition(example)[0].count("\n")
    exec(compile("\n" * before + example, str(README), "exec"), {"__name__": "example"})  # noqa: S102 - our own document


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quote_stands_in_the_code(quote: str):
    path, _, lines = quote.partition("\n")
    assert lines in (ROOT / path.removeprefix("# ")).read_text("utf-8"), dedent(lines)


def test_the_map_names_every_module_once():
    table = README.read_text("utf-8").partition("\n## Map\n")[2]
    named = re.findall(r"`([a-z0-9_/]+\.py)`", table)
    files = (ROOT / "simulator").rglob("*.py")
    there = {str(path.relative_to(ROOT / "simulator")) for path in files if len(path.read_text().splitlines()) > 1}
    assert sorted(named) == sorted(there)
