"""Clients that wait for the end of a task and then retry it: a completed task with gaps becomes another task."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from simulator.campaign.clients import tenants
from simulator.campaign.clients.responses import key_of
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.row_changes import InvariantBroken
from src.kernel.domain.ids import TaskKey, split_task_key

if TYPE_CHECKING:
    from random import Random

    from simulator.campaign.clients.clients import Clients
    from simulator.platform.world import World
    from src.kernel.api.base.messages import Reply

MENDED_SECONDS_MOST = 120.0  # The seconds that a client waits for the end while faults last.
_SENDINGS_MOST = 3


async def mend(clients: Clients, world: World, rng: Random, task_key: TaskKey) -> Reply | None:
    """Wait for the task's end and retry it. Sometimes ask twice, and sometimes mend the new task, too."""
    tenant, task_id = split_task_key(task_key)
    path, headers = f"/api/tasks/{task_id}", tenants.headers(tenant)
    until = world.loop.now() + MENDED_SECONDS_MOST
    status = ""
    while not status:
        reply = await clients.fetch(ClientRequest("GET", f"{path}?wait=10", headers=headers))
        if world.loop.now() > until or (reply is not None and reply.status == 404):
            return reply
        told: Any = json.loads(reply.body) if reply is not None and reply.status == 200 else {"terminal": False}
        status = told["status"] if told["terminal"] else ""
        await asyncio.sleep(1)
    clients.interfered |= status != "completed"  # a completed task stays as it is
    made: set[TaskKey] = set()
    for _ in range(_SENDINGS_MOST):
        reply = await clients.fetch(ClientRequest("POST", f"{path}/retry", headers=headers))
        if reply is not None and reply.status == 202:
            told = json.loads(reply.body)
            if told.get("retryOf") == task_id:
                made.add(key_of(tenant, told["id"]))
            if rng.random() < 0.7:
                break
        elif reply is not None and reply.status != 503:
            break
    for new in made:
        clients.mended[new] = task_key
    if made and rng.random() < 0.3:
        return await mend(clients, world, rng, max(made))
    return reply


def check_told(clients: Clients, known: set[TaskKey]) -> None:
    """Check that each task that clients were told of was in the database. Raises InvariantBroken."""
    for new, old in clients.mended.items():
        if new not in known:
            raise InvariantBroken(f"{new}: the answer to a retry of {old}, and never was in the database")
