"""Tests that an object may pass promises to the `waitUntil` of its raw context, but no coroutines."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from simulator.platform.world import ClientError, World
from tests.simulator.toy_app import ToyApp, mark, marks, play

ALONE = {"promises_alone": 1.0}


async def work(env: Any) -> None:
    """Leave a mark in D1."""
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
