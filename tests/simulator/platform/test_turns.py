"""Tests the hosted runtime's turns of the event loop: the standing clock, short delays, and livelocks."""

import asyncio
from typing import Any

import pytest

from simulator.engine.errors import Livelock
from simulator.platform.world import EPOCH_MS, ClientError, World
from tests.simulator.toy_app import ToyApp, mark, marks, play

STANDING = {"clock_standing": 1.0}
STOCK = STANDING | {"stock_loop": 1.0}


def ask(handler: Any, rates: dict[str, float], *, seed: int = 1, **options: Any) -> Any:
    async def fetch(env, request, ctx) -> Any:
        return await handler(env, asyncio.get_running_loop())

    async def scenario(world: World) -> Any:
        return await world.fetch("a")

    return play(ToyApp(fetch=fetch), scenario, seed=seed, faults=dict(rates), **options)


def milliseconds(seconds: float) -> int:
    """Return a reading of the standing clock as whole milliseconds since the start of the simulation."""
    assert seconds * 1000 == pytest.approx(round(seconds * 1000), rel=0, abs=1e-3)
    return round(seconds * 1000) - EPOCH_MS


def test_the_clock_stands_still_within_a_turn():
    async def handler(env, loop) -> tuple[set[float], float]:
        await asyncio.sleep(0.0123)
        seen = set()
        for _ in range(50):
            seen.add(loop.time())
            await asyncio.sleep(0)
        for _ in range(10):
            await mark(env, "a", "b")
        return seen, loop.time()

    seen, later = ask(handler, STANDING)
    assert len(seen) == 1
    assert milliseconds(later) > milliseconds(*seen)


def test_python_time_gains_a_millisecond_a_look_and_falls_back():
    async def handler(env, loop) -> tuple[list[int], int]:
        seen = [env.platform.now_ms() for _ in range(5)]
        await asyncio.sleep(0.003)
        return seen, env.platform.now_ms()

    seen, later = ask(handler, STANDING)
    assert seen == list(range(seen[0], seen[0] + 5))
    assert later == seen[0] + 3 < seen[-1]


@pytest.mark.parametrize(
    ("rates", "seconds", "lasts"),
    [(STANDING, 0.0123, 13), (STANDING, 0.0001, 1), (STANDING, 5, 5_000), (STOCK, 0.0123, 12), (STOCK, 0.0021, 2)],
)
def test_a_timer_says_the_millisecond_that_it_was_due(rates: dict[str, float], seconds: float, lasts: int):
    """The Worker's own loop rounds a timer up to whole ms, and Pyodide's rounds it down."""

    async def handler(env, loop) -> int:
        began = milliseconds(loop.time())
        await asyncio.sleep(seconds)
        return milliseconds(loop.time()) - began

    assert ask(handler, rates) == lasts


async def spins(env: Any, loop: asyncio.AbstractEventLoop) -> None:
    until = loop.time() + 0.0504
    while loop.time() < until:  # noqa: ASYNC110 - what is to be found
        await asyncio.sleep(0.001)


def test_a_turn_that_never_ends_is_told_with_its_coroutine():
    """Short steps that are microtasks never end a wait; `Livelock` names the coroutine."""
    with pytest.raises(Livelock, match=r"w1:fetch in .*fetch > spins > sleep \(test_turns.py:\d+\)"):
        ask(spins, STOCK)
    ask(spins, STANDING)
    ask(spins, {})


async def two_handles(env: Any, loop: asyncio.AbstractEventLoop) -> str:
    ran: list[str] = []
    for name in "ab":
        loop.call_soon(ran.append, name)
    await asyncio.sleep(0.01)
    return "".join(ran)


def test_ready_handles_keep_their_order_or_are_overtaken():
    assert {ask(two_handles, STANDING, seed=seed) for seed in range(20)} == {"ab"}
    overtaken = STANDING | {"handle_overtaken": 0.5}
    assert {ask(two_handles, overtaken, seed=seed) for seed in range(20)} == {"ab", "ba"}


async def two_timers(env: Any, loop: asyncio.AbstractEventLoop) -> str:
    ran: list[str] = []

    async def steps(name: str) -> None:
        await asyncio.sleep(0.01)
        for _ in range(3):
            ran.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(steps("a"), steps("b"))
    return "".join(ran)


def test_microtasks_come_before_the_next_event():
    assert {ask(two_timers, STANDING, seed=seed) for seed in range(20)} <= {"aaabbb", "bbbaaa"}
    assert len({ask(two_timers, {}, seed=seed) for seed in range(20)}) > 2


def test_the_dead_take_no_further_step_of_their_turn():
    ran: list[str] = []

    async def handler(env, request, ctx) -> None:
        asyncio.get_running_loop().call_soon(ran.append, "later")
        env.platform.isolate.kill()
        await asyncio.sleep(0)
        ran.append("on")

    async def scenario(world: World) -> None:
        with pytest.raises(ClientError):
            await world.fetch("a")
        await asyncio.sleep(100)

    play(ToyApp(fetch=handler), scenario, faults=dict(STANDING))
    assert ran == []


def test_a_seed_is_a_schedule_of_turns():
    async def fetch(env, request, ctx) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(two_handles(env, loop) for _ in range(5)))
        await mark(env, "a", "b")

    def digest(seed: int) -> str:
        async def scenario(world: World) -> World:
            await asyncio.gather(*(world.fetch("a") for _ in range(5)))
            assert marks(world) == ["a b"] * 5
            return world

        return play(ToyApp(fetch=fetch), scenario, seed=seed, faults=STOCK | {"handle_overtaken": 0.5}).trace_digest

    digests = [digest(seed) for seed in range(5)]
    assert digests == [digest(seed) for seed in range(5)]
    assert len(set(digests)) == 5
