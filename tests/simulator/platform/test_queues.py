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


def fail(message, batch) -> None:
    if batch.queue == "ai-processing-queue":
        raise ValueError("no")


def test_a_clean_return_acks():
    """A message whose handler returns without an error is delivered once, with attempt 1, a time and an id."""
    body = {"job": "a", "n": 5.0, "none": None}

    def consume(message, batch) -> None:
        assert message.body is not body
        assert message.id
        assert message.timestamp.tzinfo is not None

    seen, world = deliver(consume, [body])
    assert seen == [("ai-processing-queue", {"job": "a", "n": 5, "none": None}, 1)]
    assert world.queue.counts.acked == 1
    assert world.queue.is_empty()


def test_failures_lead_to_the_dead_letter_queue():
    """If max_retries is 2, a message that always fails is delivered three times."""
    seen, world = deliver(fail, ["a"])
    assert seen == [
        ("ai-processing-queue", "a", 1),
        ("ai-processing-queue", "a", 2),
        ("ai-processing-queue", "a", 3),
        ("ai-processing-dlq", "a", 1),
    ]
    assert world.queue.counts.dead_lettered == 1
    assert world.dlq.counts.acked == 1


def test_a_message_without_a_dead_letter_queue_is_deleted_in_the_end():
    """A message of the dead-letter queue, which has no dead-letter queue itself, is deleted after three retries."""
    seen, world = deliver(lambda message, batch: message.retry(), ["a"])
    assert len([one for one in seen if one[0] == "ai-processing-dlq"]) == 4
    assert world.dlq.is_empty()


@pytest.mark.parametrize(("first", "second", "deliveries"), [("ack", "retry", 1), ("retry", "ack", 3)])
def test_the_first_of_ack_and_retry_counts(first: str, second: str, deliveries: int):
    """The first call of `ack` or `retry` for a message counts; later calls, `ackAll` and `retryAll` change nothing."""

    def consume(message, batch) -> None:
        if batch.queue == "ai-processing-queue":
            getattr(message, first)()
            getattr(message, second)()
            getattr(batch, f"{second}All")()

    seen, _world = deliver(consume, ["a"])
    assert len([one for one in seen if one[0] == "ai-processing-queue"]) == deliveries


@pytest.mark.parametrize(("mode", "deliveries"), [("production", 1), ("local", 3)])
def test_an_exception_after_an_ack(mode: Any, deliveries: int):
    """If the handler raises after an ack, the message counts as acknowledged in production.

    If the handler raises after an ack, Cloudflare's local simulator delivers the message again all the same.
    """

    def consume(message, batch) -> None:
        message.ack()
        fail(message, batch)

    seen, _world = deliver(consume, ["a"], queue_settings=QueueSettings(mode=mode))
    assert len([one for one in seen if one[0] == "ai-processing-queue"]) == deliveries


def test_delays_are_kept():
    """A message that is retried with a delay is delivered again after the delay."""
    times: list[float] = []

    def consume(message, batch) -> None:
        times.append(asyncio.get_running_loop().time())
        if message.attempts == 1:
            message.retry({"delaySeconds": 90})

    deliver(consume, ["a"])
    assert 90 <= times[1] - times[0] < 91


def test_batches_hold_several_and_each_has_its_fate():
    """If one message of a batch is retried, only this message is delivered again."""
    batches: list[list[Any]] = []

    async def fetch(env, request, ctx) -> None:
        await env.AI_QUEUE.sendBatch([{"body": at, "delaySeconds": 5} for at in range(5)])

    async def queue(env, batch, ctx) -> None:
        batches.append(sorted(message.body for message in batch.messages))
        for message in batch.messages:
            if message.body == 3 and message.attempts == 1:
                message.retry()

    async def scenario(world: World) -> None:
        await world.fetch("go")
        await asyncio.sleep(60)

    settings = QueueSettings(max_batch_size=10)
    play(ToyApp(fetch=fetch, queue=queue), scenario, queue_settings=settings, latency_seconds=0, scheduling="fifo")
    assert sorted(body for batch in batches for body in batch) == [0, 1, 2, 3, 3, 4]
    assert batches[-1] == [3]


@pytest.mark.parametrize(
    ("body", "options", "error"),
    [
        ("x" * 128_001, None, "Queue send failed: Payload Too Large"),
        ("x", {"delaySeconds": 43_201}, "Queue send failed: Bad Request"),
    ],
)
def test_what_a_queue_refuses(body: Any, options: Any, error: str):
    """A send raises an error if the size or the delay exceeds the platform's limit."""

    async def fetch(env, request, ctx) -> str:
        with pytest.raises(JsError) as caught:
            await env.AI_QUEUE.send(body, options)
        with pytest.raises(TypeError):
            env.AI_QUEUE.send((1, 2))
        return caught.value.message

    async def scenario(world: World) -> str:
        return await world.fetch("go")

    assert play(ToyApp(fetch=fetch), scenario) == error


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


def test_order_is_not_kept():
    """With the fault that reorders messages, some seed delivers a later message before an earlier one."""

    def orders(**options: Any) -> set[tuple[Any, ...]]:
        one = QueueSettings(max_concurrency=1)
        runs = (
            deliver(
                lambda message, batch: asyncio.sleep(1),
                list(range(5)),
                seed=seed,
                queue_settings=one,
                latency_seconds=0,
                scheduling="fifo",
                **options,
            )[0]
            for seed in range(10)
        )
        return {tuple(body for _queue, body, _attempt in seen) for seen in runs}

    assert orders() == {(0, 1, 2, 3, 4)}
    assert len(orders(faults={"message_reordered": 0.5})) > 3


def test_messages_get_lost():
    """With the fault that loses messages, a send succeeds, but the message is never delivered."""
    seen, world = deliver(lambda message, batch: None, ["a"], faults={"message_lost": 1.0})
    assert seen == []
    assert world.queue.counts.lost == 1


def test_a_restart_loses_what_is_in_the_queue():
    """A restart with `lose_queue` loses the messages, as in Cloudflare's local simulator, and other restarts do not."""

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
    """If a consumer dies, its message is delivered again, even if the consumer has acknowledged it."""
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
    """The platform stops a consumer's invocation after fifteen minutes, and delivers the message again."""
    began: list[float] = []

    async def consume(message, batch) -> None:
        began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(100_000 if len(began) == 1 else 0)

    deliver(consume, ["a"])
    assert len(began) == 2
    assert 900 <= began[1] - began[0] <= 935


def test_retries_used_up_and_poison_and_late_failures():
    """Tests the faults that use up a message's retries, that add poison messages, and that make a handler fail late."""

    async def work(message, batch) -> None:
        await asyncio.sleep(1 if batch.queue == "ai-processing-queue" else 0)

    seen, _ = deliver(work, ["a"], faults={"retries_exhausted": 1.0})
    assert [queue for queue, _body, _attempt in seen].count("ai-processing-dlq") == 1
    seen, _ = deliver(lambda message, batch: None, ["a"], faults={"poison_message": 1.0})
    assert len(seen) == 2
    seen, _ = deliver(lambda message, batch: None, ["a"], faults={"consumer_exception": 1.0})
    assert len([one for one in seen if one[0] == "ai-processing-queue"]) == 3


def test_no_more_at_once_than_configured():
    """A queue runs at most as many consumers at once as its setting allows."""
    running = most = 0

    async def consume(message, batch) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(5)
        running -= 1

    deliver(consume, list(range(12)), queue_settings=QueueSettings(max_concurrency=3))
    assert most == 3


@pytest.mark.parametrize("waits", [True, False])
def test_a_consumer_is_occupied_by_its_work_in_the_background(*, waits: bool):
    """A consumer whose handler has returned takes no message until its work in `waitUntil` has ended."""
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
    """Messages wait while the deployment has no queue, and are delivered once a deployment has one again."""
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
