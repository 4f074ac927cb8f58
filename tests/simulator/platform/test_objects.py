"""Tests simulated Durable Objects: single instances, gates, writes, eviction, alarms, failing RPC, and zombies."""

import asyncio
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
