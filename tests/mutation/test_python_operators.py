"""Tests the mistakes in Python: in which places each kind is made, and which places get no mistake."""

import ast
from textwrap import dedent

import pytest

from mutation.defaults import defaults_of
from mutation.python_operators import python_edits
from mutation.source import Source


def mutated(text: str, operator: str) -> list[str]:
    """Return the module's text with each mistake of this kind in turn, and check that each text is valid Python."""
    source = Source(dedent(text))
    found = []
    for edit in python_edits(source, defaults_of([source.tree])):
        after = source.text[: edit.span.start] + edit.replacement + source.text[edit.span.end :]
        ast.parse(after)
        if edit.operator == operator:
            found.append(after)
    return found


def lines(text: str, operator: str) -> set[str]:
    """Return the lines that the mistakes of this kind put into the module's text."""
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


def test_what_has_no_value_before_is_not_dropped():
    """The first assignment to a name or an attribute is not dropped, because its first use would raise an error."""
    text = """
        class A:
            def __init__(self, size):
                self.size = size
                width = size
                self.width = width
    """
    assert mutated(text, "statement dropped") == []


def test_awaited_calls_are_dropped():
    """A statement that awaits a call becomes `pass`."""
    text = "async def f(store):\n    await store.write()\n    return await store.read()"
    assert lines(text, "awaited call dropped") == {"pass"}
    assert len(mutated(text, "awaited call dropped")) == 1


def test_early_returns_are_dropped():
    """A return within a condition is dropped, but the last return of a function stays."""
    text = """
        def f(x):
            if x:
                return 1
            return 2
    """
    (after,) = mutated(text, "early return dropped")
    assert "return 2" in after
    assert "return 1" not in after


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


def test_boolean_operators_are_changed():
    """`and` becomes `or` and `or` becomes `and`, with the same grouping, and each operand is left out once."""
    assert mutated("a and (b or c)", "boolean operator changed") == ["(a or (b or c))", "a and ((b and c))"]
    assert set(mutated("a and (b or c)", "operand dropped")) == {"((b or c))", "(a)", "a and ((c))", "a and ((b))"}


def test_constants_are_off_by_one():
    """Numbers are increased by one, and decreased by one unless the result is negative, and True becomes False."""
    ups = ["f(1, 1, 2.5)", "f(0, 2, 2.5)", "f(0, 1, 3.5)"]
    downs = ["f(0, 0, 2.5)", "f(0, 1, 1.5)"]
    assert sorted(mutated("f(0, 1, 2.5)", "constant off by one")) == sorted(ups + downs)
    assert mutated("f(True, x=False)", "constant swapped") == ["f(False, x=False)", "f(True, x=True)"]


def test_arithmetic_is_swapped():
    """Arithmetic signs are swapped in expressions and assignments, and functions are replaced by their opposites."""
    assert set(mutated("a = b + c * -d", "arithmetic swapped")) == {"a = b - c * -d", "a = b + c / -d"}
    assert mutated("a -= b", "arithmetic swapped") == ["a += b"]
    assert set(mutated("min(math.ceil(a), b)", "function swapped")) == {"max(math.ceil(a), b)", "min(math.floor(a), b)"}


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


def test_values_that_have_an_effect_are_not_the_logs():
    """A value that only the log reads gets mistakes if its computation has an effect."""
    text = """
        async def f(self, x):
            count = await self.store.erase(x + 1)
            self.log("erased", count=count)
    """
    assert len(mutated(text, "arithmetic swapped")) == 1


def test_what_cannot_change_behaviour_is_left_alone():
    """Assertions, texts, annotations, decorators, docstrings and imports get no mistake."""
    text = '''
        from a import b

        type A = B[1]

        @b(1)
        def f(x: C[1] = None) -> D[1]:
            """Text, 1 + 1."""
            assert x == 1
            y: E[1] = None
            return f"{x + 1}"
    '''
    source = Source(dedent(text))
    assert list(python_edits(source, {})) == []


def test_places_are_characters():
    """A mutant is put in the right place in a text with characters of several bytes."""
    assert mutated('a = "…ä漢" if b < c else d', "comparison swapped")[0] == 'a = "…ä漢" if b <= c else d'
