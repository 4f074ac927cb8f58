"""Tests the simulated D1: results, types, limits, transactions, the clock, the counted rows, and the faults."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import DirectPort, JsError
from simulator.platform.d1 import D1Binding, DatabaseServer
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
NOW_MS = 1_790_000_000_123


def use(work: Callable[[D1Binding], Awaitable[Any]], rates: dict[str, float] | None = None) -> Any:
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
    async def work(db: D1Binding) -> str:
        with pytest.raises(JsError) as caught:
            await db.prepare(sql).bind(*values).run()
        return caught.value.message

    return use(work, rates)


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


@pytest.mark.parametrize(("fault", "landed"), [("d1_failed_before_commit", 0), ("d1_failed_after_commit", 1)])
def test_a_lost_connection_leaves_the_write_in_doubt(fault: str, landed: int):
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
