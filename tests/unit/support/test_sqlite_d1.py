"""The stand-in for D1's binding over SQLite, on which other tests rely."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.sqlite_d1 import NETWORK_LOST, SqliteD1, When


@pytest.fixture
def database() -> Iterator[SqliteD1]:
    made = SqliteD1(migrated=False, now_ms=lambda: 1_790_000_000_123)
    asyncio.run(made.batch([made.prepare("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) STRICT")]))
    yield made
    made.close()


def batch(database: SqliteD1, *statements: tuple[Any, ...]) -> list[Any]:
    return list(asyncio.run(database.batch([database.prepare(sql).bind(*values) for sql, *values in statements])))


def test_batch_is_a_transaction(database: SqliteD1) -> None:
    """The rows of a batch come back in the form that D1 gives them."""
    results = batch(
        database, ("INSERT INTO t VALUES (?1, ?2) RETURNING a, b", 1, None), ("SELECT count(*) AS n FROM t",)
    )
    assert [result["results"] for result in results] == [[{"a": 1, "b": None}], [{"n": 1}]]
    assert results[0]["success"] is True
    assert [result["meta"]["changes"] for result in results] == [1, 0]
    with pytest.raises(RuntimeError, match=r"D1_ERROR: UNIQUE constraint failed.*SQLITE_CONSTRAINT"):
        batch(database, ("INSERT INTO t VALUES (2, 'x')",), ("INSERT INTO t VALUES (1, 'x')",))
    assert database.rows("SELECT a FROM t") == [{"a": 1}]


@pytest.mark.parametrize(("when", "kept"), [("before", 0), ("after", 1)])
def test_faults(database: SqliteD1, when: When, kept: int) -> None:
    """A fault that a test orders comes before a batch or after its commit, as often as ordered."""
    database.fail(NETWORK_LOST, when)
    with pytest.raises(RuntimeError, match="Network connection lost"):
        batch(database, ("INSERT INTO t VALUES (1, 'x')",))
    assert len(database.rows("SELECT a FROM t")) == kept
    batch(database, ("SELECT 1",))


def test_limits(database: SqliteD1) -> None:
    """The stand-in has D1's limits of parameters, statements and values, and D1's message for missing tables."""
    with pytest.raises(RuntimeError, match="too many SQL variables"):
        batch(database, ("SELECT " + ", ".join("?" * 101), *range(101)))
    with pytest.raises(RuntimeError, match="too big"):
        batch(database, ("INSERT INTO t VALUES (1, ?1)", "é" * 1_000_001))
    with pytest.raises(RuntimeError, match="too long"):
        batch(database, ("SELECT 1 --" + "x" * 100_000,))
    with pytest.raises(RuntimeError, match="no such table: tasks"):
        batch(database, ("SELECT 1 FROM tasks",))
