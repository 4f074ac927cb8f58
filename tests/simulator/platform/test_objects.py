"""Tests simulated Durable Objects: single instances, gates, writes, eviction, alarms, failing RPC, and zombies."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from simulator.platform.binding_port import JsError
from simulator.platform.world import World
from tests.simulator.toy_app import ToyApp, mark, marks, play


class Base:
    """The base class of the objects in these tests."""

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


class Counter(Base):
    async def bump(self) -> int:
        self.calls += 1
        return self.calls

    async def safe(self) -> int:
        """Read, await storage, and write, during which the input gate holds back other events."""
        n = await self.storage.get("n") or 0
        await self.storage.put("n", n + 1)
        return n + 1

    async def unsafe(self) -> int:
        """Read, await D1, and write, during which another event may run and its update may be lost."""
        n = await self.storage.get("n") or 0
        await mark(self.env, "x", "y")
        await self.storage.put("n", n + 1)
        return n + 1


@pytest.mark.parametrize(("method", "loses"), [("safe", False), ("unsafe", True)])
def test_input_gates_stand_around_storage_only(method: str, loses: bool):
    """In 20 seeds, updates that read and write across an await of storage are never lost.

    In some seed, an update across an await of D1 is lost.
    """

    async def scenario(world: World, call: Any) -> int:
        await asyncio.gather(*(call(method) for _ in range(4)))
        return instance_of(world).cell.data.values["n"]

    results = {perform(Counter, scenario, seed=seed, latency_seconds=0) for seed in range(20)}
    assert (results == {4}) is not loses
    if not loses:
        relaxed = {perform(Counter, scenario, seed=seed, latency_seconds=0, strict_gates=False) for seed in range(20)}
        assert min(relaxed) < 4, "without strict gates an event gets in before the code that awaited goes on"


class Writer(Base):
    async def together(self) -> None:
        """Write to storage several times without an await in between, then wait for something else."""
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
    """After a crash, either all writes of one turn (key-value, SQL and alarm) are stored, or none of them."""

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


def test_eviction_loses_memory_and_keeps_storage():
    class Both(Base):
        async def bump(self) -> list[int]:
            self.calls += 1
            stored = (await self.storage.get("n") or 0) + 1
            await self.storage.put("n", stored)
            return [self.calls, stored]

    async def scenario(world: World, call: Any) -> None:
        assert await call("bump") == [1, 1]
        assert await call("bump") == [2, 2]
        instance_of(world).isolate.kill()
        assert await call("bump") == [1, 3]
        await asyncio.sleep(9)
        assert await call("bump") == [2, 4]
        await asyncio.sleep(11)
        assert await call("bump") == [1, 5]

    perform(Both, scenario)


class Alarming(Base):
    """An object that marks each run of its alarm with the retry count, and fails or dies as its stored plan says."""

    async def arm(self, plan: dict[str, Any]) -> None:
        await self.storage.put({"plan": plan, "runs": 0})
        await self.storage.setAlarm(self.env.platform.now_ms() + 1000)

    async def alarm(self, info) -> None:
        plan, runs = await self.storage.get("plan"), await self.storage.get("runs") + 1
        assert await self.storage.getAlarm() is None
        await self.storage.put("runs", runs)
        await mark(self.env, f"{asyncio.get_running_loop().time():.0f}", f"retry {info['retryCount']}")
        if runs <= plan.get("dies", 0):
            self.env.platform.isolate.kill()
            await asyncio.sleep(1)
        if runs <= plan.get("rearms", 0):
            await self.storage.setAlarm(self.env.platform.now_ms() + 100_000)
        if runs <= plan.get("fails", 0):
            raise ValueError("no")


def alarms(plan: dict[str, Any], *, wait: float = 2_000, **options: Any) -> tuple[list[float], list[str], int]:
    async def scenario(world: World, call: Any) -> tuple[list[float], list[str], int]:
        await call("arm", plan)
        await asyncio.sleep(wait)
        cell = world.namespaces["AIProcessor"].cells.popitem()[1]
        rows = [row.split(" ", 1) for row in marks(world)]
        times = [float(at) for at, _what in rows]
        return [b - a for a, b in pairwise(times)], [what for _at, what in rows], cell.alarm.dropped

    return perform(Alarming, scenario, **options)


def test_a_failing_alarm_is_retried_six_times_from_two_seconds():
    gaps, retries, dropped = alarms({"fails": 100})
    assert gaps == pytest.approx([2, 4, 8, 16, 32, 64], abs=1)
    assert retries == [f"retry {n}" for n in range(7)]
    assert dropped == 1


def test_death_does_not_count_against_the_six():
    """If isolates die during an alarm, the alarm runs again, even more than six times."""
    _gaps, retries, dropped = alarms({"dies": 9}, wait=20_000)
    assert len(retries) == 10
    assert dropped == 0


@pytest.mark.parametrize(("fault", "done"), [("rpc_failed_before", 0), ("rpc_failed_after", 1)])
def test_a_failed_call_may_have_been_carried_out(fault: str, done: int):
    """The caller of a failed RPC gets the error of a lost connection."""

    async def fetch(env, request, ctx) -> str:
        with pytest.raises(JsError, match="Network connection lost"):
            await env.AI_PROCESSOR.getByName("x").safe()
        return "handled"

    async def scenario(world: World) -> int:
        await world.fetch("go")
        cells = list(world.namespaces["AIProcessor"].cells.values())
        return cells[0].data.values.get("n", 0) if cells else 0

    assert play(ToyApp(fetch=fetch, objects={"AIProcessor": Counter}), scenario, faults={fault: 1.0}) == done


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


def test_an_alarm_of_a_replaced_instance_fires_again():
    class Cleaning(Base):
        async def set(self) -> None:
            await self.storage.put("k", "v")
            await self.storage.setAlarm(self.env.platform.now_ms() + 1_000)

        async def alarm(self, info: dict[str, Any]) -> None:
            await self.storage.deleteAll()
            if info["retryCount"] == 0:
                self.ctx._instance.replace()

    async def fetch(env, argument, ctx) -> None:
        await env.AI_PROCESSOR.getByName("one").set()

    async def scenario(world: World) -> list[bool]:
        await world.fetch("go")
        await asyncio.sleep(20)
        return [cell.data.is_empty() for cell in world.servers.object_cells()]

    assert play(ToyApp(fetch=fetch, objects={"AIProcessor": Cleaning}), scenario) == [True]
