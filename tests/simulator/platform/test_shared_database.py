"""Tests a simulated database that many callers share: the order of its calls, its stalls, and abandoned calls."""

import asyncio
from typing import Any

import pytest

from simulator.platform.app import Env
from simulator.platform.shared_database import Sharing
from simulator.platform.world import World
from tests.simulator.toy_app import ToyApp, mark, marks, play

PATIENCE = 2.0


async def _mark(env: Env, who: str, _ctx: Any) -> str:
    try:
        async with asyncio.timeout(PATIENCE):
            await mark(env, who, "came")
    except TimeoutError:
        return "gave up"
    return "served"


APP = ToyApp(fetch=_mark)


def waits(sharing: Sharing, callers: int, stall: float = 0.0, **options: Any) -> tuple[list[float], list[str]]:
    async def scenario(world: World) -> tuple[list[float], list[str]]:
        line = world.database.line
        assert line is not None
        line.stall(stall)

        async def call(number: int) -> float:
            await world.fetch(str(number))
            return world.loop.time()

        seconds = await asyncio.gather(*(call(number) for number in range(callers)))
        await asyncio.sleep(30)
        return seconds, marks(world)

    return play(APP, scenario, sharing=sharing, latency_seconds=0, scheduling="fifo", **options)


def test_a_call_waits_for_all_before_it():
    """The database serves callers in the order of their calls, and each call takes the service time."""
    seconds, there = waits(Sharing(0.1), 5)
    assert seconds == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert there == [f"{number} came" for number in range(5)]


def test_others_stand_before_each_call():
    """Each call of the Worker waits for a fixed number of calls of other Workers."""
    seconds, _ = waits(Sharing(0.01, others=50), 3)
    assert seconds == pytest.approx([0.51, 0.52, 0.53])


def test_the_others_leave_with_the_faults():
    """When the faults stop, the other Workers stop using the shared database, so the Worker's calls are quick."""

    async def scenario(world: World) -> float:
        world.faults.stop()
        await world.fetch("me")
        return world.loop.time()

    assert play(APP, scenario, sharing=Sharing(0.01, others=50), latency_seconds=0) == pytest.approx(0.01)


def test_what_nobody_waits_for_lands_all_the_same():
    """If a caller gives up during a stall, the database still carries out its write, in its turn."""
    seconds, there = waits(Sharing(0.1), 3, stall=10)
    assert seconds == pytest.approx([PATIENCE] * 3)
    assert there == ["0 came", "1 came", "2 came"]


def test_stalls_come_as_a_fault():
    async def scenario(world: World) -> tuple[bool, float]:
        await world.fetch("me")
        return world.database.line is not None, world.loop.time()

    shared, seconds = play(APP, scenario, faults={"d1_shared": 1.0}, latency_seconds=0)
    assert shared
    assert seconds >= 1
    assert play(APP, scenario, latency_seconds=0) == (False, 0.0)
