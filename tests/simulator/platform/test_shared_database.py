"""A database that many callers share: the order in which it serves calls, and what happens to an abandoned call."""

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
    """Return how long each of several simultaneous callers waited, in order, and the database after half a minute."""

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
    """Callers are served in the order in which they came, and each call takes the service time."""
    seconds, there = waits(Sharing(0.1), 5)
    assert seconds == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    assert there == [f"{number} came" for number in range(5)]


def test_others_stand_before_each_call():
    """Other Workers' calls come again once they are served, so each of our calls finds the same number.

    Ours still queue up too.
    """
    seconds, _ = waits(Sharing(0.01, others=50), 3)
    assert seconds == pytest.approx([0.51, 0.52, 0.53])


def test_the_others_leave_with_the_faults():
    """When faults stop, only our Worker uses the database, so it must become quiet."""

    async def scenario(world: World) -> float:
        world.faults.stop()
        await world.fetch("me")
        return world.loop.time()

    assert play(APP, scenario, sharing=Sharing(0.01, others=50), latency_seconds=0) == pytest.approx(0.01)


def test_what_nobody_waits_for_lands_all_the_same():
    """If a caller gives up during a stall, its write keeps its place in the queue and lands."""
    seconds, there = waits(Sharing(0.1), 3, stall=10)
    assert seconds == pytest.approx([PATIENCE] * 3)
    assert there == ["0 came", "1 came", "2 came"]


def test_stalls_come_as_a_fault():
    """The fault makes a database shared, and stalls it. Without the fault the database is not shared."""

    async def scenario(world: World) -> tuple[bool, float]:
        await world.fetch("me")
        return world.database.line is not None, world.loop.time()

    shared, seconds = play(APP, scenario, faults={"d1_shared": 1.0}, latency_seconds=0)
    assert shared
    assert seconds >= 1
    assert play(APP, scenario, latency_seconds=0) == (False, 0.0)
