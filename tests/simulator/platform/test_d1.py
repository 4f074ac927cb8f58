"""Tests the simulated D1: results, types, limits, transactions, the clock, the counted rows, and the faults."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from simulator.engine.fault_kinds import STANDING
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.binding_port import DirectPort, JsError
from simulator.platform.d1 import D1Binding, DatabaseServer
from simulator.platform.shared_database import CallQueue, Sharing
from simulator.platform.sqlite_database import Template

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


def test_sql_sees_the_database_clock():
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


@pytest.mark.parametrize("is_shared", [False, True])
def test_a_database_that_stands_still_tells_for_how_long(is_shared: bool):
    faults, waits = FaultPlan(Random(1), {STANDING: 1.0}), list[float]()
    server = DatabaseServer(TEMPLATE, faults, lambda: NOW_MS)
    if is_shared:
        server.line = CallQueue(Sharing(), faults, lambda: NOW_MS / 1000)
    assert server.wait_seconds() == 0
    statement = D1Binding(server, DirectPort()).prepare("SELECT 1")
    server.serve([statement], lambda *_: None, lambda seconds, *_: waits.append(seconds))
    server.close()
    assert 30 <= server.wait_seconds() == pytest.approx(waits[0], abs=0.01)
