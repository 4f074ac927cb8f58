"""Tests the simulated bucket of R2: what each fault does to a call."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from simulator.platform.app import Env
from simulator.platform.binding_port import JsError
from simulator.platform.choices import TOP
from simulator.platform.r2.bucket import ABSENT_SECONDS, LAG_SECONDS, LATE_SECONDS
from simulator.platform.world import World
from tests.simulator.toy_app import ToyApp, play

BUCKET = replace(TOP, bucket=True)


async def _call(env: Env, request: tuple[Any, ...], _ctx: Any) -> Any:
    name, *arguments = request
    try:
        async with asyncio.timeout(100):
            return await getattr(env.BLOBS, name)(*arguments)
    except (JsError, TimeoutError) as error:
        return type(error)


def story(fault: str, *requests: tuple[Any, ...], wait: float = 0.0) -> list[Any]:
    async def scenario(world: World) -> list[Any]:
        first = await world.fetch(requests[0])
        world.faults.stop()
        await asyncio.sleep(wait)
        return [first] + [await world.fetch(request) for request in requests[1:]]

    rates = {fault: 1.0} if fault else {}
    return play(ToyApp(fetch=_call), scenario, deployment=BUCKET, faults=rates, slots=1)


PUT = ("put", "a", b"abc")
GET = ("get", "a", 0, 3)


@pytest.mark.parametrize(
    ("fault", "answer", "stored"),
    [
        ("", None, b"abc"),
        ("r2_failed_before", JsError, None),
        ("r2_failed_after", JsError, b"abc"),
        ("r2_lands_later", JsError, None),
        ("r2_lands_twice", None, b"abc"),
        ("r2_rate_limited", JsError, None),
        ("r2_list_lags", None, b"abc"),
    ],
)
def test_a_put_under_each_fault(fault: str, answer: object, stored: bytes | None):
    """Under each fault a put fails or succeeds, and afterwards the object exists or not, as the table says."""
    assert story(fault, PUT, GET) == [answer, stored]


def test_a_put_that_lands_later_is_there_in_the_end():
    assert story("r2_lands_later", PUT, GET, wait=LATE_SECONDS[1]) == [JsError, b"abc"]


def test_a_put_that_lands_twice_restores_what_was_deleted():
    async def scenario(world: World) -> list[Any]:
        await world.fetch(PUT)
        world.faults.stop()
        await world.fetch(("delete", ["a"]))
        before = await world.fetch(GET)
        await asyncio.sleep(LATE_SECONDS[1])
        return [before, await world.fetch(GET)]

    faults = {"r2_lands_twice": 1.0}
    assert play(ToyApp(fetch=_call), scenario, deployment=BUCKET, faults=faults, slots=1) == [None, b"abc"]


def test_a_hang_may_have_taken_effect():
    """A put that hangs never answers; in some schedules the object is stored all the same."""

    def run(seed: int) -> list[Any]:
        async def scenario(world: World) -> list[Any]:
            first = await world.fetch(PUT)
            world.faults.stop()
            return [first, await world.fetch(GET)]

        return play(ToyApp(fetch=_call), scenario, seed=seed, deployment=BUCKET, faults={"r2_hangs": 1.0}, slots=1)

    found = [run(seed) for seed in range(12)]
    assert {answer for answer, _ in found} == {TimeoutError}
    assert {stored for _, stored in found} == {None, b"abc"}


def test_a_list_that_lags_leaves_out_young_objects():
    async def scenario(world: World) -> list[Any]:
        await world.fetch(PUT)
        young = await world.fetch(("list", "", "", 10))
        await asyncio.sleep(LAG_SECONDS)
        (old, _) = await world.fetch(("list", "", "", 10))
        return [young, [one.key for one in old]]

    faults = {"r2_list_lags": 1.0}
    assert play(ToyApp(fetch=_call), scenario, deployment=BUCKET, faults=faults, slots=1) == [([], False), ["a"]]


def test_a_bucket_that_finds_nothing_finds_its_objects_again():
    async def scenario(world: World) -> list[Any]:
        await world.fetch(PUT)
        found = [await world.fetch(GET), await world.fetch(("open", "a", 3))]
        await asyncio.sleep(ABSENT_SECONDS[1])
        return [*found, await world.fetch(GET), await world.fetch(GET)]

    faults = {"r2_finds_nothing": 1.0}
    found = play(ToyApp(fetch=_call), scenario, deployment=BUCKET, faults=faults, slots=1)
    assert found == [None, None, b"abc", None]


def test_another_bucket_has_nothing_of_the_first():
    """After another bucket is bound, reads and lists find what is stored in it, and nothing from before."""

    async def scenario(world: World) -> list[Any]:
        await world.fetch(PUT)
        world.servers.bucket.replace()
        await world.fetch(("put", "b", b"x"))
        (listed, _) = await world.fetch(("list", "", "", 10))
        return [await world.fetch(GET), [one.key for one in listed]]

    assert play(ToyApp(fetch=_call), scenario, deployment=BUCKET, slots=1) == [None, ["b"]]
