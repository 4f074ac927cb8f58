"""Tests the mistakes in SQL: in which places each kind is made, in statements and in pieces of statements."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mutation.catalogue import statement_files
from mutation.source import Source
from mutation.sql_operators import keeping, sql_edits
from mutation.sql_text import sql_strings


def mutated(sql: str, operator: str) -> list[str]:
    source = Source(f'f"""{sql}"""')
    whole = next(one for one in sql_strings(source, all_of_them=True) if one.span.start == 4)
    found = []
    for edit in sql_edits(source.text, whole):
        after = source.text[: edit.span.start] + edit.replacement + source.text[edit.span.end :]
        if edit.operator == f"SQL: {operator}":
            found.append(" ".join(after[4:-3].split()))
    return found


def test_each_condition_is_dropped():
    assert mutated("DELETE FROM t WHERE a = :a AND (b OR c = {D}) AND {E} RETURNING a", "condition dropped") == [
        "DELETE FROM t WHERE 1 AND (b OR c = {D}) AND {E} RETURNING a",
        "DELETE FROM t WHERE a = :a AND 1 AND {E} RETURNING a",
        "DELETE FROM t WHERE a = :a AND (b OR c = {D}) AND 1 RETURNING a",
        "DELETE FROM t WHERE a = :a AND (0 OR c = {D}) AND {E} RETURNING a",
        "DELETE FROM t WHERE a = :a AND (b OR 0) AND {E} RETURNING a",
    ]
    alone = "SELECT a FROM t WHERE a = 1 ORDER BY b"
    assert mutated(alone, "condition dropped") == [alone.replace("a = 1", "1")]
    assert mutated("INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING", "condition dropped") == []


@pytest.mark.parametrize("parameters", [[":a"], [":a", ":b"], ["?"]])
def test_parameters_are_kept_without_a_meaning(parameters: list[str]):
    """If a mistake drops a condition, the parameters of the condition stay in an expression without effect."""
    with closing(sqlite3.connect(":memory:")) as database:
        for value in ("0", "1"):
            kept = keeping(value, parameters)
            assert all(parameter in kept for parameter in parameters)
            bound = (None,) * kept.count("?") if "?" in parameters else {"a": None, "b": 3}
            assert database.execute(f"SELECT {kept}", bound).fetchone() == (int(value),)


def test_every_module_of_statements_has_mistakes_to_make():
    root = Path(__file__).parents[2]
    counts = {}
    for name in statement_files(root):
        source = Source((root / name).read_text("utf-8"))
        strings = sql_strings(source, all_of_them=True)
        counts[name] = sum(len(list(sql_edits(source.text, whole))) for whole in strings)
    assert {name for name, count in counts.items() if count < 20} == set()
