"""Tests simulated queues: attempts, retries, dead letters, acknowledgements, exceptions, limits, and faults."""

import asyncio
from typing import Any

import pytest

from simulator.platform.binding_port import JsError
from simulator.platform.choices import DIRECT, TOP
from simulator.platform.queues import QueueSettings
from simulator.platform.world import ClientError, World
from tests.simulator.toy_app import ToyApp, play

type Seen = list[tuple[str, Any, int]]


def deliver(consume: Any, bodies: list[Any], *, wait: float = 3_000, **options: Any) -> tuple[Seen, World]:
    """Send bodies to a queue whose consumer is `consume(message, batch)`, and return the deliveries and the world.

    A delivery is the name of the queue, the body, and the number of the attempt.
    """
    seen: Seen = []
    kept: list[World] = []

    async def fetch(env, request, ctx) -> None:
        for body in bodies:
            await env.AI_QUEUE.send(body)

    async def queue(env, batch, ctx) -> None:
        for message in batch.messages:
            seen.append((batch.queue, message.body, message.attempts))
            result = consume(message, batch)
            if asyncio.iscoroutine(result):
                await result

    async def scenario(world: World) -> None:
        kept.append(world)
        await world.fetch("go")
        await asyncio.sleep(wait)

    play(ToyApp(fetch=fetch, queue=queue), scenario, **options)
    return seen, kept[0]


def test_a_message_without_a_dead_letter_queue_is_deleted_in_the_end():
    seen, world = deliver(lambda message, batch: message.retry(), ["a"])
    assert len([one for one in seen if one[0] == "ai-processing-dlq"]) == 4
    assert world.dlq.is_empty()


@pytest.mark.parametrize(("fault", "deliveries"), [("send_failed", 0), ("send_reply_lost", 1)])
def test_a_send_that_fails_may_have_been_accepted(fault: str, deliveries: int):
    """The sender gets an error if the queue refuses a message, and if the reply to an accepted message is lost."""
    seen: list[Any] = []

    async def fetch(env, request, ctx) -> None:
        with pytest.raises(JsError):
            await env.AI_QUEUE.send("a")

    async def queue(env, batch, ctx) -> None:
        seen.append(batch.messages[0].body)

    async def scenario(world: World) -> None:
        await world.fetch("go")
        await asyncio.sleep(10)

    play(ToyApp(fetch=fetch, queue=queue), scenario, faults={fault: 1.0})
    assert len(seen) == deliveries


def test_duplicates_may_overlap():
    """In some seeds, two deliveries of one message, with the same id, are handled at the same time."""
    overlaps = 0
    for seed in range(20):
        running: set[str] = set()
        clash: list[str] = []

        async def consume(message, running=running, clash=clash) -> None:
            if message.id in running:
                clash.append(message.id)
            running.add(message.id)
            await asyncio.sleep(5)
            running.discard(message.id)

        seen, _world = deliver(
            lambda message, batch, consume=consume: consume(message), ["a"], seed=seed, faults={"duplicate_delivery": 1}
        )
        assert len(seen) == 2
        overlaps += len(clash)
    assert overlaps > 3


def test_a_restart_loses_what_is_in_the_queue():
    def received(*, lose: bool) -> list[Any]:
        seen: list[Any] = []

        async def fetch(env, request, ctx) -> None:
            await env.AI_QUEUE.send("a", {"delaySeconds": 60})

        async def queue(env, batch, ctx) -> None:
            seen.append(batch.messages[0].body)

        async def scenario(world: World) -> None:
            await world.fetch("go")
            world.restart(lose_queue=lose)
            await asyncio.sleep(100)

        play(ToyApp(fetch=fetch, queue=queue), scenario)
        return seen

    assert received(lose=False) == ["a"]
    assert received(lose=True) == []


def test_a_consumer_that_dies_gets_the_message_again():
    lives: list[int] = []

    async def fetch(env, request, ctx) -> None:
        await env.AI_QUEUE.send("a")

    async def queue(env, batch, ctx) -> None:
        lives.append(batch.messages[0].attempts)
        batch.messages[0].ack()
        if len(lives) == 1:
            env.platform.isolate.kill()
        await asyncio.sleep(1)

    async def scenario(world: World) -> None:
        await world.fetch("go")
        await asyncio.sleep(100)
        assert world.queue.is_empty()

    play(ToyApp(fetch=fetch, queue=queue), scenario)
    assert lives == [1, 2]


def test_a_consumer_has_fifteen_minutes():
    began: list[float] = []

    async def consume(message, batch) -> None:
        began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(100_000 if len(began) == 1 else 0)

    deliver(consume, ["a"])
    assert len(began) == 2
    assert 900 <= began[1] - began[0] <= 935


@pytest.mark.parametrize("waits", [True, False])
def test_a_consumer_is_occupied_by_its_work_in_the_background(*, waits: bool):
    began: list[float] = []
    ended: list[float] = []

    async def fetch(env, request, ctx) -> None:
        await env.AI_QUEUE.send("a")
        await env.AI_QUEUE.send("b")

    async def queue(env, batch, ctx) -> None:
        async def work() -> None:
            await asyncio.sleep(20 if batch.messages[0].body == "a" else 40)
            ended.append(asyncio.get_running_loop().time())

        began.append(asyncio.get_running_loop().time())
        ctx.waitUntil(work())

    async def scenario(world: World) -> None:
        await world.fetch("go")
        await asyncio.sleep(100)
        assert world.queue.counts.acked == 2

    settings = QueueSettings(max_concurrency=1, waits_for_background=waits)
    play(ToyApp(fetch=fetch, queue=queue), scenario, queue_settings=settings, scheduling="fifo")
    assert (began[1] - began[0] >= 20) == waits
    assert len(ended) == (2 if waits else 1)


def test_a_deployment_without_a_queue_leaves_messages_waiting():
    seen: list[Any] = []

    async def fetch(env, request, ctx) -> None:
        await env.AI_QUEUE.send("a", {"delaySeconds": 30})

    async def queue(env, batch, ctx) -> None:
        seen.append(batch.messages[0].body)

    async def scenario(world: World) -> None:
        await world.fetch("go")
        world.deploy(DIRECT)
        with pytest.raises(ClientError, match="AttributeError"):
            await world.fetch("go")
        await asyncio.sleep(100)
        assert seen == []
        world.deploy(TOP)
        await asyncio.sleep(1)
        assert seen == ["a"]

    play(ToyApp(fetch=fetch, queue=queue), scenario)
