"""Tests simulated isolates: their death, crashes at every point, promises, and the shrinking of a failure."""

import asyncio
from random import Random

import pytest

from simulator.engine.crashes import Crashes, single_crashes
from simulator.engine.fault_plan import FaultPlan
from simulator.engine.shrinking import shrink
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
