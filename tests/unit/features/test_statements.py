"""All statements of the Worker, those of features included."""

from collections.abc import Iterator

from src.kernel.store.d1 import Statement
from tests.conformance.cases.storyteller import STATEMENT_MODULES, statement_names

PARAMETERS_MOST = 100  # D1's limit for one statement


def _all() -> Iterator[Statement]:
    for module in STATEMENT_MODULES:
        for value in vars(module).values():
            yield from (one for one in (value if isinstance(value, tuple) else (value,)) if isinstance(one, Statement))


def test_each_statement_keeps_to_the_limits_of_d1():
    """Each statement has at most 100 parameters and 100 KB of text, which are D1's limits."""
    made = list(_all())
    assert len(made) > 60
    assert max(len(one.parameters) for one in made) <= PARAMETERS_MOST
    assert max(len(one.sql.encode()) for one in made) <= 100_000


def test_no_two_subjects_have_statements_of_one_name():
    """No two modules have statements of the same name."""
    assert len(statement_names()) > 60  # which asserts it
