"""Measures how late one tenant's tasks are while calls for another tenant's tasks always fail."""

import asyncio
import json
import math
from dataclasses import dataclass, replace
from typing import Any

from simulator.campaign.clients import tenants
from simulator.campaign.load.brownouts import CONSUMERS, ROUTES
from simulator.campaign.load.overload import Bystander
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.queues import QueueSettings
from simulator.platform.world import World

CALL_SECONDS = 1.0
CONCURRENCY = 6
LATE_SECONDS_MOST = 2.0 + CALL_SECONDS  # The most seconds by which another tenant's trouble may delay a task.
WAITS_MOST = 1_800.0


@dataclass(frozen=True, slots=True)
class Neighbours:
    """One experiment: one tenant has `poisoned` tasks, each with one chunk that always fails.

    The sound tasks of another tenant have `chunks` chunks each. The sound tasks come one by one, each as many seconds
    after the first tenant's last submission as `come_at` says. Objects work on `objects_at_work` tasks at once; None
    means no limit.
    """

    poisoned: int
    route: str = "queue"
    chunks: int = 1
    isolates: int = 3
    consumers: int = CONSUMERS
    come_at: tuple[float, ...] = (5.0, 60.0, 600.0)
    objects_at_work: int | None = None


def lateness(neighbours: Neighbours, seed: int = 0) -> list[float]:
    """Return by how many seconds each sound task ends later than without poisoned tasks: infinite if it never ends."""
    calm = _play(replace(neighbours, poisoned=0), seed)
    return [troubled - quiet for troubled, quiet in zip(_play(neighbours, seed), calm, strict=True)]


def _play(neighbours: Neighbours, seed: int) -> list[float]:
    app = Onceover()
    app.watcher = Bystander()
    world = World(
        seed,
        app,
        TEMPLATE,
        scheduling="fifo",
        deployment=ROUTES[neighbours.route],
        variables={
            "CHUNK_MAX_CHARS": "10",
            "PLAN": "paid",
            "AI_CONCURRENCY": str(CONCURRENCY),
            "AI_TIMEOUT_SECONDS": "10",
        }
        | ({} if neighbours.objects_at_work is None else {"MAX_OBJECTS_AT_WORK": str(neighbours.objects_at_work)}),
        queue_settings=QueueSettings(max_concurrency=neighbours.consumers),
        model_seconds=(CALL_SECONDS, CALL_SECONDS),
        slots=neighbours.isolates,
        max_steps=80_000_000,
    )
    world.database.meter_reads = False
    world.model.is_poison = lambda call: call.user.startswith("p")
    tenants.install(world.database.connection, world.now_ms())

    async def scenario(world: World) -> list[float]:
        world.start_cron(60)
        first, second = tenants.TENANTS
        # Submissions come one after the other, because an isolate looks up only a few unknown API keys at once.
        for _ in range(neighbours.poisoned):
            await _submit(world, first, "p", 1)
        took, all_there_at = [], world.loop.now()
        for at in neighbours.come_at:
            await asyncio.sleep(all_there_at + at - world.loop.now())
            began = world.loop.now()
            task = await _submit(world, second, "w", neighbours.chunks)
            took.append(await _ended(world, task) - began)
        return took

    return world.run(scenario)


async def _submit(world: World, tenant: str, letter: str, chunks: int) -> str:
    text = "".join(f"{letter}{at:03d} abc. " for at in range(chunks))
    request = ClientRequest("POST", "/api/tasks", lambda: {"input": text}, tenants.headers(tenant))
    reply = await world.fetch(request)
    body: dict[str, Any] = json.loads(reply.body)
    assert reply.status == 202, body
    return f"{tenant}:{body['id']}"


async def _ended(world: World, task_key: str) -> float:
    """Wait until a task has ended, and return when (virtual seconds): infinite after `WAITS_MOST` seconds."""
    until = world.loop.now() + WAITS_MOST
    while world.loop.now() < until:
        query = "SELECT finished_at FROM tasks WHERE id = ?"
        ((finished_ms,),) = world.database.connection.execute(query, (task_key,))
        if finished_ms is not None:
            return world.loop.now()
        await asyncio.sleep(0.05)
    return math.inf
