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


def test_conditions_are_negated():
    """Conditions of if, while, conditional expressions, comprehensions and cases are negated, or lose their `not`."""
    text = """
        def f(x, y):
            if x: pass
            while y: pass
            z = 1 if x else 2
            a = [b for b in y if b]
            match x:
                case 1 if y: pass
            if not x: pass
            while True: pass
    """
    assert lines(text, "condition negated") == {
        "if (not (x)): pass",
        "while (not (y)): pass",
        "z = 1 if (not (x)) else 2",
        "a = [b for b in y if (not (b))]",
        "case 1 if (not (y)): pass",
    }
    assert lines(text, "negation dropped") == {"if (x): pass"}


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
    """Each comparison is replaced by its neighbour, such as `<=` for `<`, and by its opposite."""
    assert set(mutated(before, "comparison swapped")) == after


def test_arguments_with_defaults_are_dropped():
    """An argument is dropped if every function with the called name has a default for the parameter.

    If the parameter had no default, a call without the argument would fail at once.
    """
    text = """
        def f(a, b=1, *, c=2): ...
        def g(a, b): ...
        class C:
            d: int
            e: int = 1
        f(a=1, b=2, c=3)
        g(a=1, b=2)
        C(d=1, e=2)
        asyncio.wait(tasks, timeout=1)
    """
    assert lines(text, "argument with default dropped") == {
        "f(a=1, c=3)",
        "f(a=1, b=2)",
        "C(d=1)",
        "asyncio.wait(tasks)",
    }


def test_the_log_is_left_alone():
    """Calls of the log, and values that only these calls read, get no mistake."""
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
