"""The simulated platform: deaths and crashes of isolates, objects, promises, D1, and the shrinking of a failure."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from simulator.engine.crashes import Crashes, single_crashes
from simulator.engine.fault_kinds import STANDING
from simulator.engine.fault_plan import FaultPlan
from simulator.engine.shrinking import shrink
from simulator.platform.binding_port import DirectPort, JsError
from simulator.platform.d1 import D1Binding, DatabaseServer
from simulator.platform.shared_database import CallQueue, Sharing
from simulator.platform.sqlite_database import Template
from simulator.platform.world import ClientError, World
from tests.simulator.toy_app import TEMPLATE, ToyApp, mark, marks, play


async def careful(env, request, ctx) -> str:
    """Leave a mark in D1 at each step of a handler, also in its `finally`."""
    await mark(env, request, "began")
    try:
        await asyncio.sleep(10)
        await mark(env, request, "worked")
    except BaseException as error:
        await mark(env, request, f"caught {type(error).__name__}")
        raise
    finally:
        await mark(env, request, "left")
    return "answer"


def test_a_dead_isolate_runs_no_finally():
    ran: list[str] = []

    async def handler(env, request, ctx) -> None:
        await mark(env, request, "began")
        try:
            await asyncio.sleep(10)
            ran.append("worked")
        finally:
            ran.append("left")

    async def scenario(world: World) -> list[str]:
        caller = asyncio.ensure_future(world.fetch("a"))
        await asyncio.sleep(5)
        for isolate in world.isolates:
            isolate.kill()
        with pytest.raises(ClientError, match="connection lost"):
            await caller
        await asyncio.sleep(100)
        assert ran == []
        return marks(world)

    assert play(ToyApp(fetch=handler), scenario) == ["a began"]


def test_the_dead_reach_nothing():
    writes: list[str] = []

    async def handler(env, request, ctx) -> None:
        insert = env.DB.prepare("INSERT INTO marks VALUES (?, 'x')")
        first, second = insert.bind("first").run(), insert.bind("second").run()
        try:
            await first
            await second
        finally:
            await careful(env, request, ctx)

    async def scenario(world: World) -> list[str]:
        world.database.observers.append(lambda: writes.append("write"))
        with pytest.raises(ClientError):
            await world.fetch("a")
        await asyncio.sleep(100)
        return marks(world)

    plan = FaultPlan(Random(1), crash_at={1: "before"})
    assert play(ToyApp(fetch=handler), scenario, faults=plan) == []
    assert writes == []
    assert plan.points == 1, "a call of the dead passed a suspension point"


async def three(env, request, ctx) -> None:
    for what in ("one", "two", "three"):
        await mark(env, request, what)


def crash_run(crash_at: Crashes, seen: list[list[str]]) -> list[str]:
    plan = FaultPlan(Random(1), crash_at=crash_at)
    plan.point_labels = []

    async def scenario(world: World) -> None:
        for request in ("a", "b"):
            try:
                await world.fetch(request)
            except ClientError:
                assert crash_at
        seen.append(marks(world))

    World(1, ToyApp(fetch=three), TEMPLATE, faults=plan, latency_seconds=0).run(scenario)
    return plan.point_labels


def test_every_single_crash_is_before_or_after_its_effect():
    seen: list[list[str]] = []
    crashes = [crash for _label, crash in single_crashes(lambda crash_at: crash_run(crash_at, seen))]
    assert len(crashes) == 12
    for crash, rows in zip(crashes, seen[1:], strict=True):
        ((point, when),) = crash.items()
        request, at = ("a", point) if point <= 3 else ("b", point - 3)
        assert sum(row.startswith(request) for row in rows) == at - (when == "before")
        assert sum(not row.startswith(request) for row in rows) == 3


def test_a_failure_shrinks_to_the_faults_that_matter():
    def plan_for(seed: int, muted: frozenset[int]) -> FaultPlan:
        rates = {"d1_failed_after_commit": 0.2, "clock_skewed": 1.0, "message_delayed": 1.0, "model_slow": 0.5}
        return FaultPlan(Random(seed), rates, muted=muted, keep_timeline=True)

    async def fetch(env, request, ctx) -> None:
        await mark(env, request, "sent")

    async def scenario(world: World) -> bool:
        failed = False
        for at in range(12):
            try:
                await world.fetch(str(at))
            except ClientError:
                failed = True
        return failed

    def fails(muted: frozenset[int]) -> bool:
        return World(5, ToyApp(fetch=fetch), TEMPLATE, faults=plan_for(5, muted)).run(scenario)

    plan = plan_for(5, frozenset())
    assert World(5, ToyApp(fetch=fetch), TEMPLATE, faults=plan).run(scenario)
    assert plan.tallies["d1_failed_after_commit"].fired > 1
    muted = shrink(fails, len(plan.fired_in_order))
    final = plan_for(5, muted)
    assert World(5, ToyApp(fetch=fetch), TEMPLATE, faults=final).run(scenario)
    assert {name: tally.fired for name, tally in final.tallies.items() if tally.fired} == {"d1_failed_after_commit": 1}
    assert "d1_failed_after_commit" in final.report()


ALONE = {"promises_alone": 1.0}


async def work(env: Any) -> None:
    await mark(env, "work", "done")


def kept_alive(hand_over: Callable[[Any, Awaitable[None]], None], rates: dict[str, float]) -> tuple[list[str], World]:
    class Leaving:
        def __init__(self, ctx, env) -> None:
            self.ctx, self.env = ctx, env

        async def leave(self) -> None:
            hand_over(self.ctx, work(self.env))

    async def fetch(env, request, ctx) -> None:
        await env.AI_PROCESSOR.getByName("x").leave()

    async def scenario(world: World) -> tuple[list[str], World]:
        await world.fetch("a")
        await asyncio.sleep(5)
        return marks(world), world

    return play(ToyApp(fetch=fetch, objects={"AIProcessor": Leaving}), scenario, faults=dict(rates))


def test_a_coroutine_never_runs():
    with pytest.warns(RuntimeWarning, match="'work' was never awaited"):
        left, world = kept_alive(lambda ctx, awaitable: ctx.waitUntil(awaitable), ALONE)
    assert left == []
    assert world.network.never_awaited == ["AIProcessor/x#1: work"]
    assert world.faults.tallies["promises_alone"].fired == 1


def test_a_promise_is_taken():
    left, world = kept_alive(lambda ctx, awaitable: ctx.waitUntil(asyncio.ensure_future(awaitable)), ALONE)
    assert left == ["work done"]
    assert world.network.never_awaited == []


def test_without_the_fault_a_coroutine_is_refused():
    def hand_over(ctx: Any, coroutine: Any) -> None:
        with contextlib.closing(coroutine):
            ctx.waitUntil(coroutine)

    with pytest.raises(ClientError, match="awaits promises alone"):
        kept_alive(hand_over, {})


def test_the_context_of_the_worker_takes_coroutines():
    async def fetch(env, request, ctx) -> None:
        ctx.waitUntil(work(env))

    async def scenario(world: World) -> list[str]:
        await world.fetch("a")
        await asyncio.sleep(5)
        return marks(world)

    assert play(ToyApp(fetch=fetch), scenario, faults=dict(ALONE)) == ["work done"]


class Base:
    def __init__(self, ctx, env) -> None:
        self.ctx = ctx
        self.env = env
        self.storage = ctx.storage
        self.calls = 0


def perform(cls: type, scenario: Any, **options: Any) -> Any:
    """Run `scenario(world, call)`, where `call(method, *args, name="x")` lets a client call a method of an object."""

    async def fetch(env, request, ctx) -> Any:
        name, method, args = request
        return await getattr(env.AI_PROCESSOR.getByName(name), method)(*args)

    async def whole(world: World) -> Any:
        async def call(method: str, *args: Any, name: str = "x") -> Any:
            return await world.fetch((name, method, args))

        return await scenario(world, call)

    return play(ToyApp(fetch=fetch, objects={"AIProcessor": cls}), whole, **options)


def instance_of(world: World) -> Any:
    (cell,) = world.namespaces["AIProcessor"].cells.values()
    return cell.instance


class Writer(Base):
    async def together(self) -> None:
        first, second = self.storage.put("a", 1), self.storage.put("b", 1)
        self.storage.sql.exec("CREATE TABLE t (v INTEGER)")
        self.storage.sql.exec("INSERT INTO t VALUES (?)", 1)
        alarm = self.storage.setAlarm(self.env.platform.now_ms() + 1_000_000)
        await first
        await second
        await alarm
        await asyncio.sleep(5)

    async def look(self) -> tuple[Any, ...] | list[Any]:
        tables = self.storage.sql.exec("SELECT count(*) AS n FROM sqlite_master WHERE name = 't'").one()["n"]
        return [await self.storage.get(["a", "b"]), tables, await self.storage.getAlarm() is not None]


@pytest.mark.parametrize("moment", ["before the flush", "after it"])
def test_writes_between_awaits_are_atomic(moment: str):
    async def scenario(world: World, call: Any) -> list[Any]:
        if moment == "before the flush":
            world.faults.tallies["write_lost_at_eviction"].rate = 0.3
        caller = asyncio.ensure_future(call("together"))
        await asyncio.sleep(1)
        world.faults.stop()
        if (instance := instance_of(world)) is not None:
            instance.isolate.kill()
        await asyncio.wait({caller})
        assert caller.exception() is not None
        return await call("look")

    results = [perform(Writer, scenario, seed=seed) for seed in range(12)]
    everything, nothing = [{"a": 1, "b": 1}, 1, True], [{}, 0, False]
    if moment == "after it":
        assert all(result == everything for result in results)
    else:
        assert nothing in results
        assert all(result in (everything, nothing) for result in results)


def test_a_zombie_goes_on_beside_its_successor():
    """A replaced instance continues and can write to D1, but cannot use its storage, while the new instance works."""

    class Slow(Base):
        async def work(self) -> None:
            await asyncio.sleep(20)
            await mark(self.env, "old", "d1")
            try:
                await self.storage.put("k", "old")
            except JsError:
                await mark(self.env, "old", "refused")
            with pytest.raises(JsError, match="no longer accessible"):
                self.storage.sql.exec("CREATE TABLE t (v INTEGER)")

        async def ping(self) -> str:
            await self.storage.put("k", "new")
            return "pong"

    async def scenario(world: World, call: Any) -> tuple[list[str], Any]:
        caller = asyncio.ensure_future(call("work"))
        await asyncio.sleep(5)
        instance = instance_of(world)
        instance.replace()
        assert await call("ping") == "pong"
        assert instance_of(world) is not instance
        await caller
        return marks(world), instance.cell.data.values["k"]

    assert perform(Slow, scenario) == (["old d1", "old refused"], "new")


TABLES = Template(
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
    server = DatabaseServer(TABLES, FaultPlan(Random(1), rates), lambda: NOW_MS)
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
    server = DatabaseServer(TABLES, faults, lambda: NOW_MS)
    if is_shared:
        server.line = CallQueue(Sharing(), faults, lambda: NOW_MS / 1000)
    assert server.wait_seconds() == 0
    statement = D1Binding(server, DirectPort()).prepare("SELECT 1")
    server.serve([statement], lambda *_: None, lambda seconds, *_: waits.append(seconds))
    server.close()
    assert 30 <= server.wait_seconds() == pytest.approx(waits[0], abs=0.01)
