"""Tests simulated isolates: their death, crashes at every point, clocks, `waitUntil`, and faults of awaits."""

import asyncio
from random import Random

import pytest

from simulator.engine.crashes import Crashes, single_crashes
from simulator.engine.fault_plan import FaultPlan
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
    """Code of a dead isolate that still runs, such as the rest of a step or a late `finally`, cannot use bindings."""
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


def test_tasks_of_a_dead_isolate_die_too():
    """The tasks and timers of a handler end with the death of the handler's isolate."""

    async def spawn(env, request, ctx) -> str:
        ctx.waitUntil(later(env, request))
        return request

    async def later(env, request) -> None:
        await asyncio.gather(*(asyncio.sleep(5) for _ in range(3)))
        await mark(env, request, "late")

    async def scenario(world: World) -> list[str]:
        await world.fetch("dies")
        (first,) = [isolate for isolate in world.isolates if isolate.invocations]
        while len(world.isolates) < 2:
            await world.fetch("lives")
        first.kill()
        await asyncio.sleep(60)
        return marks(world)

    assert set(play(ToyApp(fetch=spawn), scenario)) == {"lives late"}


def test_a_task_left_behind_stops_with_its_invocation():
    async def handler(env, request, ctx) -> str:
        async def later() -> None:
            await asyncio.sleep(1)
            await mark(env, request, "later")

        asyncio.ensure_future(later())  # noqa: RUF006
        return request

    async def scenario(world: World) -> list[str]:
        await world.fetch("a")
        await asyncio.sleep(10)
        assert not world.isolates[0].dead
        return marks(world)

    assert play(ToyApp(fetch=handler), scenario) == []


def test_a_request_under_way_outlives_its_sender():
    """D1 carries out a write even if the sender died while the request was on the network."""

    async def handler(env, request, ctx) -> None:
        await mark(env, request, "sent")

    async def scenario(world: World) -> list[str]:
        caller = asyncio.ensure_future(world.fetch("a"))
        for _ in range(10):
            await asyncio.sleep(0)
        assert world.faults.points == 1
        assert marks(world) == []
        world.isolates[0].kill()
        await asyncio.wait({caller})
        assert caller.exception() is not None
        await asyncio.sleep(10)
        return marks(world)

    assert play(ToyApp(fetch=handler), scenario) == ["a sent"]


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


def test_a_killed_invocation_leaves_its_isolate_alive():
    """If the platform ends `waitUntil` work early, the isolate still serves further requests."""

    async def handler(env, request, ctx) -> str:
        async def tail() -> None:
            await asyncio.sleep(25)
            await mark(env, request, "tail")

        if request == "cut":
            ctx.waitUntil(tail())
        return request

    async def scenario(world: World) -> list[str]:
        await world.fetch("cut")
        await world.fetch("on")
        await asyncio.sleep(60)
        assert len([isolate for isolate in world.isolates if not isolate.dead]) == 1
        return marks(world)

    app = ToyApp(fetch=handler)
    assert play(app, scenario, slots=1) == ["cut tail"]
    assert play(app, scenario, slots=1, faults={"wait_until_cut": 1.0}) == []


def test_wait_until_lasts_thirty_seconds_after_a_response():
    """The platform stops `waitUntil` work 30 s after the response, even if no fault strikes."""

    async def handler(env, request, ctx) -> None:
        async def tail() -> None:
            await asyncio.sleep(31)
            await mark(env, request, "tail")

        ctx.waitUntil(tail())

    async def scenario(world: World) -> list[str]:
        await world.fetch("a")
        await asyncio.sleep(100)
        return marks(world)

    assert play(ToyApp(fetch=handler), scenario) == []


def test_a_frozen_isolate_goes_on_later():
    """A frozen isolate does nothing for longer than a lease, and then continues to write."""

    async def handler(env, request, ctx) -> None:
        await mark(env, request, "one")
        await mark(env, request, "two")

    async def scenario(world: World) -> None:
        await world.fetch("a")
        assert marks(world) == ["a one", "a two"]
        assert world.loop.time() > 60

    play(ToyApp(fetch=handler), scenario, faults={"worker_frozen": 1.0})
