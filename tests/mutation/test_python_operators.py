"""Tests the mistakes in Python: in which places each kind is made, and which places get no mistake."""

import ast
from textwrap import dedent

import pytest

from mutation.defaults import defaults_of
from mutation.python_operators import python_edits
from mutation.source import Source


def mutated(text: str, operator: str) -> list[str]:
    source = Source(dedent(text))
    found = []
    for edit in python_edits(source, defaults_of([source.tree])):
        after = source.text[: edit.span.start] + edit.replacement + source.text[edit.span.end :]
        ast.parse(after)
        if edit.operator == operator:
            found.append(after)
    return found


def lines(text: str, operator: str) -> set[str]:
    before = {line.strip() for line in dedent(text).splitlines()}
    return {line.strip() for after in mutated(text, operator) for line in after.splitlines()} - before


def test_statements_are_dropped():
    """Calls, assignments to names that already have a value, raises and jumps become `pass`."""
    text = """
        def f(self, items):
            self.seen.add(1)
            self.count += 1
            self.last = items
            items = list(items)
            del items[0]
            for item in items:
                if item:
                    continue
                raise ValueError
    """
    assert len(mutated(text, "statement dropped")) == 7
    assert lines(text, "statement dropped") == {"pass"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a < b", {"a <= b", "a >= b"}),
        ("a <= b", {"a < b", "a > b"}),
        ("a > b", {"a >= b", "a <= b"}),
        ("a >= b", {"a > b", "a < b"}),
        ("a == b", {"a != b"}),
        ("a != b", {"a == b"}),
        ("a is None", {"a is not None"}),
        ("a is not None", {"a is None"}),
        ("a in b", {"a not in b"}),
        ("a not in b", {"a in b"}),
        ("a < b == (c)", {"a <= b == (c)", "a >= b == (c)", "a < b != (c)"}),
    ],
)
def test_comparisons_are_swapped(before: str, after: set[str]):
    assert set(mutated(before, "comparison swapped")) == after


def test_the_log_is_left_alone():
    text = """
        def f(self, x):
            log = self._log.bind(a=1 + x)
            facts = {"a": x + 1}
            word = "yes" if x > 1 else "no"
            log("event", word=word, **facts)
            log.failure("event", x + 1)
            return x * 2
    """
    assert [after.count("x / 2") for after in mutated(text, "arithmetic swapped")] == [1]
    assert mutated(text, "statement dropped") == []
    assert mutated(text, "comparison swapped") == []
