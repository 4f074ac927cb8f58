"""Tests the mistakes in SQL: in which places each kind is made, in statements and in pieces of statements."""

import sqlite3
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from mutation.source import Source
from mutation.sql_operators import keeping, sql_edits
from mutation.sql_text import groups, sql_strings


def mutated(sql: str, operator: str) -> list[str]:
    """Return a string of SQL with each mistake of this kind in turn, with single blanks."""
    source = Source(f'f"""{sql}"""')
    whole = next(one for one in sql_strings(source, all_of_them=True) if one.span.start == 4)
    found = []
    for edit in sql_edits(source.text, whole):
        after = source.text[: edit.span.start] + edit.replacement + source.text[edit.span.end :]
        if edit.operator == f"SQL: {operator}":
            found.append(" ".join(after[4:-3].split()))
    return found


def test_comparisons_are_swapped_and_assignments_are_not():
    """Comparisons in conditions are swapped, but a `=` that assigns a value in a SET clause is not."""
    assert mutated("UPDATE t SET a = b WHERE c = 1 AND d < 2", "comparison swapped") == [
        "UPDATE t SET a = b WHERE c <> 1 AND d < 2",
        "UPDATE t SET a = b WHERE c = 1 AND d <= 2",
        "UPDATE t SET a = b WHERE c = 1 AND d >= 2",
    ]
    assert mutated("UPDATE t SET a = (b = c), d = e", "comparison swapped") == ["UPDATE t SET a = (b <> c), d = e"]
    assert mutated("a = :a, b = :b", "comparison swapped") == []
    assert mutated("a = :a AND b", "comparison swapped") == ["a <> :a AND b"]


def test_conditions_are_negated():
    """IN, EXISTS and IS get a NOT, or lose their NOT."""
    sql = "SELECT a FROM t WHERE a IN (1) AND EXISTS (b) AND c IS NULL AND d IS NOT NULL AND NOT {E}"
    assert mutated(sql, "condition negated") == [
        sql.replace("a IN", "a NOT IN"),
        sql.replace("EXISTS", "NOT EXISTS"),
        sql.replace("c IS", "c IS NOT"),
    ]
    assert mutated(sql, "negation dropped") == [sql.replace("d IS NOT", "d IS"), sql.replace("NOT {E}", "{E}")]


def test_each_condition_is_dropped():
    """Each operand of an AND is replaced by true, and each operand of an OR by false."""
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


def test_connectives_are_swapped():
    """AND becomes OR, and OR becomes AND."""
    assert mutated("a AND (b OR c)", "AND and OR swapped") == ["a OR (b OR c)", "a AND (b AND c)"]


def test_statuses_are_swapped_and_left_out():
    """A status is replaced by the next status that the statement does not name, or is left out of a list."""
    sql = "UPDATE tasks SET status = 'failed' WHERE status IN ('pending', 'processing', 'cancelled')"
    assert mutated(sql, "status swapped") == [
        sql.replace("'failed'", "'cancelled'"),
        sql.replace("'pending'", "'completed'"),
        sql.replace("'processing'", "'completed'"),
        sql.replace("'cancelled'", "'completed'"),
    ]
    assert mutated(sql, "status left out of a list") == [
        sql.replace("'pending', ", ""),
        sql.replace("'processing', ", ""),
        sql.replace(", 'cancelled'", ""),
    ]


def test_assignments_are_dropped():
    """Each assignment is replaced by one that keeps the column's value, also in a piece of SQL with assignments."""
    assert mutated("UPDATE t SET a = a + 1, b = CASE WHEN c THEN 1 ELSE 2 END WHERE d", "assignment dropped") == [
        "UPDATE t SET a = a, b = CASE WHEN c THEN 1 ELSE 2 END WHERE d",
        "UPDATE t SET a = a + 1, b = b WHERE d",
    ]
    assert mutated("{HELD}, a = max(b, {NOW}), c = '[]'", "assignment dropped") == [
        "{HELD}, a = a, c = '[]'",
        "{HELD}, a = max(b, {NOW}), c = c",
    ]


def test_values_are_changed():
    """Mistakes are made in sums, numbers, limits, defaults, `min` and `max`."""
    assert mutated("a = b + (c IS NULL), d = 0", "summand dropped") == ["a = b, d = 0"]
    assert mutated("a = b + (c IS NULL), d = 0", "arithmetic swapped") == ["a = b - (c IS NULL), d = 0"]
    assert mutated("SELECT 1, 2 FROM t LIMIT :most", "constant off by one") == [
        "SELECT 1, 3 FROM t LIMIT :most",
        "SELECT 1, 2 FROM t LIMIT :most + 1",
    ]
    assert set(mutated("coalesce(a, 1) + 1", "constant off by one")) == {"coalesce(a, 0) + 1", "coalesce(a, 1) + 2"}
    assert mutated("coalesce(a < {NOW}, 0)", "default dropped") == ["(a < {NOW})", "(0)"]
    assert mutated("min(a, coalesce(b, a))", "function swapped") == ["max(a, coalesce(b, a))"]


def test_clauses_are_changed():
    """Mistakes are made in CASE, ON CONFLICT, ORDER BY and LEFT JOIN."""
    assert mutated("CASE WHEN a THEN b + 1 ELSE 0 END", "branches swapped") == ["CASE WHEN a THEN 0 ELSE b + 1 END"]
    assert mutated("CASE WHEN a THEN b WHEN c THEN d ELSE e END", "branch dropped") == [
        "CASE WHEN c THEN d ELSE e END",
        "CASE WHEN a THEN b ELSE e END",
    ]
    insert = "INSERT INTO t (a, b) SELECT 1, 2 ON CONFLICT DO"
    assert mutated(f"{insert} NOTHING", "ON CONFLICT changed") == [
        f"{insert} UPDATE SET a = excluded.a, b = excluded.b"
    ]
    assert mutated(f"{insert} UPDATE SET a = 1 WHERE b", "ON CONFLICT changed") == [f"{insert} NOTHING"]
    assert mutated(f"{insert} NOTHING", "ON CONFLICT dropped") == ["INSERT INTO t (a, b) SELECT 1, 2"]
    ordered = "SELECT a FROM t ORDER BY a, b LIMIT 1"
    assert mutated(ordered, "order reversed") == [ordered.replace("a, b", "a DESC, b")]
    assert mutated("SELECT a FROM t ORDER BY a DESC", "order reversed") == ["SELECT a FROM t ORDER BY a ASC"]
    assert mutated("SELECT a FROM t LEFT JOIN u", "LEFT JOIN made a JOIN") == ["SELECT a FROM t JOIN u"]


def test_texts_and_comments_are_left_alone():
    """Quoted texts, comments and the columns of a read get no mistakes."""
    source = Source("X = \"SELECT a, 'b = 1 AND c' FROM t -- WHERE d = 1\"")
    (whole,) = sql_strings(source, all_of_them=False)
    assert list(sql_edits(source.text, whole)) == []


@pytest.mark.parametrize("parameters", [[":a"], [":a", ":b"], ["?"]])
def test_parameters_are_kept_without_a_meaning(parameters: list[str]):
    """If a mistake drops a condition, the parameters of the condition stay in an expression without effect."""
    with closing(sqlite3.connect(":memory:")) as database:
        for value in ("0", "1"):
            kept = keeping(value, parameters)
            assert all(parameter in kept for parameter in parameters)
            bound = (None,) * kept.count("?") if "?" in parameters else {"a": None, "b": 3}
            assert database.execute(f"SELECT {kept}", bound).fetchone() == (int(value),)


def test_nameless_parameters_are_kept_at_once():
    """If a mistake drops nameless parameters, the mutant keeps them, so that it has the same number of parameters."""
    assert mutated("DELETE FROM t WHERE a = ?", "condition dropped") == ["DELETE FROM t WHERE iif(? IS NULL, 1, 1)"]


def test_sql_is_found_in_a_module():
    """Strings of SQL are found by their first word, or all strings except docstrings count as SQL."""
    text = dedent('''
        """SELECT nothing."""
        A = "SELECT a FROM t"
        B = f"UPDATE t SET a = {wake(f"{NOW} + :ms", at="b")} WHERE c"
        C = "no verb"
        D = "SELECT" "SELECT"
        E = "SELECT \\\\n"
    ''')

    def texts(*, all_of_them: bool) -> list[str]:
        source = Source(text)
        return [source.text[slice(*one.span)] for one in sql_strings(source, all_of_them=all_of_them)]

    assert texts(all_of_them=False) == ["SELECT a FROM t", 'UPDATE t SET a = {wake(f"{NOW} + :ms", at="b")} WHERE c']
    assert set(texts(all_of_them=True)) - set(texts(all_of_them=False)) == {"{NOW} + :ms", "b", "no verb"}


def test_brackets_and_cases_are_groups():
    """Brackets and CASE … END become nested groups, but a bracket that stays open makes no group."""
    source = Source('X = "a(b, CASE c WHEN (d) THEN e END) AND ("')
    (whole,) = sql_strings(source, all_of_them=True)
    assert [(group.kind, len(group.parts)) for group in groups(whole)] == [
        ("whole", 3),
        ("brackets", 3),
        ("case", 7),
        ("brackets", 1),
    ]


def test_every_module_of_statements_has_mistakes_to_make():
    """Every module of statements has places for mistakes, in whatever way its statements are composed."""
    folder = Path(__file__).parents[2] / "src" / "store" / "sql"
    counts = {}
    for path in folder.glob("*.py"):
        source = Source(path.read_text("utf-8"))
        strings = sql_strings(source, all_of_them=True)
        counts[path.stem] = sum(len(list(sql_edits(source.text, whole))) for whole in strings)
    assert {name for name, count in counts.items() if count < 20} <= {"statement"}
