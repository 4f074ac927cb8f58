"""Tests the simulated D1: results, types, limits, transactions, the clock, the counted rows, and the faults."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import DirectPort, JsError
from simulator.platform.d1 import D1Binding, DatabaseServer
from simulator.platform.sql_values import NO_TRANSACTIONS
from simulator.platform.sqlite_database import Template
from simulator.platform.world import World
from tests.simulator.toy_app import ToyApp, mark, marks, play

TEMPLATE = Template(
    [
        """
        CREATE TABLE t (id TEXT PRIMARY KEY, n INTEGER, note TEXT) STRICT, WITHOUT ROWID;
        CREATE INDEX t_by_n ON t (n);
        CREATE TABLE r (id TEXT PRIMARY KEY, n INTEGER);
        CREATE TABLE loose (v);
        INSERT INTO loose VALUES ('seeded');
        """
    ]
)
CONSTRAINT = "SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT"
NOW_MS = 1_790_000_000_123


def use(work: Callable[[D1Binding], Awaitable[Any]], rates: dict[str, float] | None = None) -> Any:
    """Run `work(db)` on a fresh database without a network, and return its result."""
    server = DatabaseServer(TEMPLATE, FaultPlan(Random(1), rates), lambda: NOW_MS)
    coroutine = work(D1Binding(server, DirectPort()))
    try:
        coroutine.send(None)  # type: ignore[attr-defined]
    except StopIteration as end:
        return end.value
    finally:
        server.close()
    raise AssertionError("it waited")


def refusal(sql: str, *values: Any, rates: dict[str, float] | None = None) -> str:
    """Return the message of the error that a statement causes."""

    async def work(db: D1Binding) -> str:
        with pytest.raises(JsError) as caught:
            await db.prepare(sql).bind(*values).run()
        return caught.value.message

    return use(work, rates)


def test_results_have_the_shape_of_the_sdk():
    """`run` and `all` return results and meta, `first` returns a row, a column or None, and `raw` returns lists."""

    async def work(db: D1Binding) -> None:
        insert = db.prepare("INSERT INTO t VALUES (?, ?, ?) RETURNING id, note")
        written = await insert.bind("a", 1, None).run()
        assert written["success"] is True
        assert written["results"] == [{"id": "a", "note": None}]
        assert written["meta"]["changes"] == 1
        assert written["meta"]["changed_db"] is True
        select = db.prepare("SELECT id, n FROM t")
        assert (await select.all())["results"] == [{"id": "a", "n": 1}]
        assert await select.first() == {"id": "a", "n": 1}
        assert await select.first("n") == 1
        assert await db.prepare("SELECT 1 WHERE 0").first() is None
        assert await select.raw() == [["a", 1]]
        assert await select.raw({"columnNames": True}) == [["id", "n"], ["a", 1]]

    use(work)


def test_numbers_bind_as_doubles():
    """Numbers are bound as doubles, as in JavaScript, but a STRICT integer column stores 5.0 and returns 5."""

    async def work(db: D1Binding) -> None:
        row = (
            await db.prepare("SELECT typeof(?1) AS kind, ?1 AS value, ?1 / 2 AS half, ?2 AS flag").bind(5, True).first()
        )
        assert row == {"kind": "real", "value": 5, "half": 2.5, "flag": 1}
        assert type(row["value"]) is int
        await db.prepare("INSERT INTO t VALUES ('a', ?, NULL)").bind(5).run()
        assert await db.prepare("SELECT typeof(n) AS kind FROM t").first("kind") == "integer"

    use(work)


def test_values_that_do_not_cross_are_refused():
    """`bind` raises D1_TYPE_ERROR for a big integer and for an object."""

    async def work(db: D1Binding) -> None:
        statement = db.prepare("SELECT ? AS v")
        for value in (2**60, object()):
            with pytest.raises(JsError, match="D1_TYPE_ERROR"):
                statement.bind(value)
        assert await statement.bind("a\ud800b").first("v") == "a\ufffdb"
        assert await statement.bind(b"\x01\x02").first("v") == [1, 2]

    use(work)


@pytest.mark.parametrize(
    ("sql", "values", "message"),
    [
        ("SELECT * FROM nope", (), "D1_ERROR: no such table: nope: SQLITE_ERROR"),
        ("SELECT ?", (), "D1_ERROR: Wrong number of parameter bindings for SQL query."),
        ("SELECT " + ", ".join("?" * 101), (1,) * 101, "D1_ERROR: too many SQL variables: SQLITE_ERROR"),
        ("SELECT ?", ("x" * 2_000_001,), "D1_ERROR: string or blob too big: SQLITE_TOOBIG"),
        ("SELECT 1 -- " + "x" * 100_000, (), "D1_ERROR: statement too long: SQLITE_TOOBIG"),
        ("SELECT 1; SELECT 2", (), "D1_ERROR: A prepared SQL statement must contain only one statement."),
        ("BEGIN", (), f"D1_ERROR: {NO_TRANSACTIONS}"),
        ("VACUUM", (), "D1_ERROR: not authorized: SQLITE_AUTH"),
        (
            "INSERT INTO t VALUES ('a', 'words', NULL)",
            (),
            f"D1_ERROR: cannot store TEXT value in INTEGER column t.n: {CONSTRAINT}_DATATYPE)",
        ),
    ],
)
def test_errors_are_worded_like_d1(sql: str, values: tuple[Any, ...], message: str):
    """Exceeded limits and faulty statements raise errors with the messages of D1."""
    assert refusal(sql, *values) == message


def test_a_batch_is_one_transaction():
    """If a statement of a batch fails, no statement of the batch takes effect; otherwise all take effect."""

    async def work(db: D1Binding) -> None:
        insert = db.prepare("INSERT INTO t VALUES (?, 1, NULL)")
        with pytest.raises(JsError, match=r"UNIQUE constraint failed: t\.id"):
            await db.batch([insert.bind("a"), insert.bind("b"), insert.bind("a")])
        assert await db.prepare("SELECT count(*) AS n FROM t").first("n") == 0
        results = await db.batch([insert.bind("a"), db.prepare("SELECT id FROM t")])
        assert results[1]["results"] == [{"id": "a"}]

    use(work)


def test_sql_sees_the_database_clock():
    """Every way to read the time in SQL gives the virtual time in milliseconds, and fixed dates stay as they are."""

    async def work(db: D1Binding) -> None:
        row = await db.prepare(
            "SELECT unixepoch('subsec') AS a, unixepoch() AS b, unixepoch('now') AS c, datetime('now') AS d,"
            " current_timestamp AS e, strftime('%Y', 'now') AS f, date('now', '-1 day') AS g,"
            " unixepoch('2000-01-01') AS h, CAST(unixepoch('now', 'subsec') * 1000 AS INTEGER) AS i"
        ).first()
        assert row == {
            "a": 1_790_000_000.123,
            "b": 1_790_000_000,
            "c": 1_790_000_000,
            "d": "2026-09-21 14:13:20",
            "e": "2026-09-21 14:13:20",
            "f": "2026",
            "g": "2026-09-20",
            "h": 946_684_800,
            "i": NOW_MS,
        }

    use(work)


def test_rows_written_count_tables_and_indexes():
    """A written row counts once for its table and once for each changed index, but a deleted row counts only once."""

    async def work(db: D1Binding) -> None:
        async def written(sql: str) -> int:
            return int((await db.prepare(sql).run())["meta"]["rows_written"])

        assert await written("INSERT INTO t VALUES ('a', 1, NULL), ('b', 2, NULL)") == 4
        assert await written("UPDATE t SET note = 'x' WHERE id = 'a'") == 1
        assert await written("UPDATE t SET n = 3 WHERE id = 'a'") == 2
        assert await written("UPDATE t SET n = 3 WHERE id = 'nope'") == 0
        assert await written("INSERT INTO r VALUES ('a', 1)") == 2
        assert await written("DELETE FROM t") == 2

    use(work)


def test_rows_read_count_scans():
    """A search by an index counts the rows that it finds, and a scan counts all rows of the table."""

    async def work(db: D1Binding) -> None:
        for name in "abcdef":
            await db.prepare("INSERT INTO t VALUES (?, 1, NULL)").bind(name).run()
        search = await db.prepare("SELECT * FROM t WHERE id = 'a'").run()
        scan = await db.prepare("SELECT * FROM t WHERE note IS NOT NULL").run()
        assert search["meta"]["rows_read"] == 1
        assert scan["meta"]["rows_read"] == 6

    use(work)


@pytest.mark.parametrize(("fault", "landed"), [("d1_failed_before_commit", 0), ("d1_failed_after_commit", 1)])
def test_a_lost_connection_leaves_the_write_in_doubt(fault: str, landed: int):
    """After a lost connection, the error is the same whether the fault struck before or after the write."""

    async def work(db: D1Binding) -> int:
        with pytest.raises(JsError, match="Network connection lost"):
            await db.prepare("INSERT INTO t VALUES ('a', 1, NULL)").run()
        return len(db._server.connection.execute("SELECT * FROM t").fetchall())

    assert use(work, {fault: 1.0}) == landed


def test_overload_is_refused_before_anything_is_done():
    """An overloaded database refuses a call with its own message, and does not carry out the call."""
    message = refusal("INSERT INTO t VALUES ('a', 1, NULL)", rates={"d1_overloaded": 1.0})
    assert message == "D1_ERROR: D1 DB is overloaded. Requests queued for too long."


def test_a_used_database_comes_back_as_new():
    """The next simulation gets the same connection, without rows that were added and with the template's rows again."""

    async def dirty(db: D1Binding) -> int:
        await db.prepare("INSERT INTO t VALUES ('a', 1, NULL)").run()
        await db.prepare("DELETE FROM loose").run()
        return id(db._server.connection)

    async def look(db: D1Binding) -> tuple[Any, ...]:
        seen = await db.prepare("SELECT (SELECT count(*) FROM t) AS n, v FROM loose").first()
        return id(db._server.connection), seen

    assert use(look) == (use(dirty), {"n": 0, "v": "seeded"})


def test_an_answer_that_is_late_comes_after_its_effect():
    """If an answer is late, the database has carried out the write at once."""

    async def fetch(env: Any, request: Any, ctx: Any) -> None:
        await mark(env, request, "was here")

    async def scenario(world: World) -> tuple[list[str], float]:
        asked = asyncio.ensure_future(world.fetch("a client"))
        await asyncio.sleep(0.4)
        there = marks(world)
        await asked
        return there, world.loop.time()

    there, answered_at = play(ToyApp(fetch=fetch), scenario, faults={"d1_answers_late": 1.0})
    assert there == ["a client was here"]
    assert 0.5 <= answered_at <= 26
