"""An object may pass promises to its raw `ctx.waitUntil`, but no coroutine."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from simulator.platform.world import ClientError, World
from tests.simulator.toy_app import ToyApp, mark, marks, play

ALONE = {"promises_alone": 1.0}


async def work(env: Any) -> None:
    """Work after the answer."""
    await mark(env, "work", "done")


def kept_alive(hand_over: Callable[[Any, Awaitable[None]], None], rates: dict[str, float]) -> tuple[list[str], World]:
    """Let an object pass work to its context. Returns the marks that the work left, and the world."""

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
    """A raw context drops a coroutine without running it: Python warns, and the world notes which code passed it."""
    with pytest.warns(RuntimeWarning, match="'work' was never awaited"):
        left, world = kept_alive(lambda ctx, awaitable: ctx.waitUntil(awaitable), ALONE)
    assert left == []
    assert world.network.never_awaited == ["AIProcessor/x#1: work"]
    assert world.faults.tallies["promises_alone"].fired == 1


def test_a_promise_is_taken():
    """A future counts as a promise: its work runs to the end."""
    left, world = kept_alive(lambda ctx, awaitable: ctx.waitUntil(asyncio.ensure_future(awaitable)), ALONE)
    assert left == ["work done"]
    assert world.network.never_awaited == []


def test_without_the_fault_a_coroutine_is_refused():
    """Without the fault the context reports at once that it accepts only promises."""

    def hand_over(ctx: Any, coroutine: Any) -> None:
        with contextlib.closing(coroutine):
            ctx.waitUntil(coroutine)

    with pytest.raises(ClientError, match="awaits promises alone"):
        kept_alive(hand_over, {})


def test_the_context_of_the_worker_takes_coroutines():
    """The SDK makes the context of a Worker's invocation accept coroutines."""

    async def fetch(env, request, ctx) -> None:
        ctx.waitUntil(work(env))

    async def scenario(world: World) -> list[str]:
        await world.fetch("a")
        await asyncio.sleep(5)
        return marks(world)

    assert play(ToyApp(fetch=fetch), scenario, faults=dict(ALONE)) == ["work done"]
