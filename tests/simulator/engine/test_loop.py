"""Tests the simulator's event loop: virtual time, seeded schedules, errors instead of hangs, and no late steps."""

import asyncio
from random import Random

import pytest

from simulator.engine import loop as loops
from simulator.engine import policies, scope, trace
from simulator.engine import turns as turns_of
from simulator.engine.errors import Deadlock
from simulator.engine.loop import Loop
from simulator.engine.policies import Policy, Priorities, Scripted, choose_at_random, choose_first, explore
from tests.support.steps import counted


def run(coroutine, policy: Policy = choose_first, **options):
    loop = Loop(policy=policy, **options)  # type: ignore[abstract]
    try:
        return loop.run(coroutine), loop
    finally:
        loop.close()


async def turns(count: int, log: list[str], name: str) -> None:
    for turn in range(count):
        log.append(f"{name}{turn}")
        await asyncio.sleep(0)


async def both(log: list[str]) -> None:
    await asyncio.gather(turns(3, log, "a"), turns(3, log, "b"))


@pytest.mark.parametrize("kind", [choose_at_random, Priorities])
def test_a_seed_is_a_schedule(kind):
    orders, digests = [], []
    for seed in [*range(10), *range(10)]:
        log: list[str] = []
        _, loop = run(both(log), kind(Random(seed)))
        orders.append(tuple(log))
        digests.append(loop.trace.digest())
    assert orders[:10] == orders[10:]
    assert digests[:10] == digests[10:]
    if kind is choose_at_random:
        assert len(set(orders)) > 3
        assert len(set(digests)) > 3


def test_explore_visits_every_interleaving():
    def once(policy: Scripted) -> tuple[str, ...]:
        log: list[str] = []

        async def main() -> None:
            await asyncio.gather(turns(2, log, "a"), turns(2, log, "b"))

        run(main(), policy)
        return tuple(log)

    orders = {order for _taken, order in explore(once)}
    assert len(orders) == 6


def test_explore_finds_a_lost_update():
    def once(policy: Scripted) -> int:
        state = {"n": 0}

        async def add() -> None:
            before = state["n"]
            await asyncio.sleep(0)
            state["n"] = before + 1

        async def main() -> None:
            await asyncio.gather(add(), add())

        run(main(), policy)
        return state["n"]

    losing = [taken for taken, result in explore(once) if result == 1]
    assert losing
    assert once(Scripted(losing[0])) == 1


def test_a_deadlock_is_an_error():
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match="main"):
        run(main())


def test_a_step_costs_little():
    async def main() -> None:
        await asyncio.gather(*(ticks() for _ in range(10)))

    async def ticks() -> None:
        for _ in range(500):
            await asyncio.sleep(0.001)

    with counted(loops, policies, scope, trace, turns_of) as cost:
        _, loop = run(main(), choose_at_random(Random(1)))
    assert loop.steps > 10_000
    assert cost.lines <= 50 * loop.steps
