"""Runs the whole Worker with a model that is away until an operator ends the pauses of the tasks that wait for it."""

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from simulator.campaign.clients import tenants
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.queues import QueueSettings
from simulator.platform.world import World
from src.kernel.domain import limits
from tests.simulator.campaign.test_away import CALL_SECONDS, CRON_SECONDS, OPTIONS
from tests.simulator.campaign.test_walls import unwatched

TASKS = 6  # of each of two tenants, every third with a model of its own
OUTAGE_SECONDS = 700.0  # within it pauses reach their five minutes
GOES_ON_SECONDS = 10.0
OURS, THEIRS = tenants.TENANTS

Json = dict[str, Any]


class Outage:
    """Tasks of two tenants whose model goes away, and an operator of the tenant `OURS`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.calls: dict[str, list[float]] = defaultdict(list)  # By task: when a call for it left.
        self.outputs: dict[str, list[float]] = defaultdict(list)
        world.model.starting = lambda call, _sender: self.calls[call.system].append(world.loop.time())
        world.model.received = lambda call, _reply: self.outputs[call.system].append(world.loop.time())

    async def submit(self, name: str, tenant: str, **fields: str) -> None:
        body = {"input": "".join(f"{at:03d} abcd. " for at in range(6)), "instructions": name, **fields}
        reply = await self.world.fetch(ClientRequest("POST", "/api/tasks", lambda: body, tenants.headers(tenant)))
        assert reply.status == 202

    async def sweep(self, **body: bool) -> Json:
        request = ClientRequest("POST", "/api/sweep", lambda: body, tenants.headers(OURS))
        reply = await self.world.fetch(request)
        assert reply.status in {200, 429}
        done: Json = json.loads(reply.body)
        return done

    async def passed(self, least: float, most: float) -> None:
        """Wait until the latest call of a task is so many seconds old."""
        while not least <= self.world.loop.time() - max(map(max, self.calls.values())) < most:  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    def since(self, at: float) -> dict[str, int]:
        """Return how many calls of each task have left since a time."""
        return {name: many for name, times in self.calls.items() if (many := sum(one >= at for one in times))}


def play(deployment: Deployment, story: Callable[[Outage], Awaitable[None]], isolates: int = 3) -> None:
    """Let twelve tasks wait for a model that is away for OUTAGE_SECONDS, and then let the story go on."""
    keyed = {"REQUIRE_KEYS": "true", "OPERATOR_TENANT": OURS, "MODEL_PATIENCE_SECONDS": "7200"}
    world = unwatched(
        deployment,
        OPTIONS | keyed,
        model_seconds=(CALL_SECONDS, CALL_SECONDS),
        slots=isolates,
        queue_settings=QueueSettings(max_concurrency=50),
        max_steps=20_000_000,
    )
    tenants.install(world.database.connection, world.now_ms())
    outage = Outage(world)

    async def scenario(world: World) -> None:
        world.start_cron(CRON_SECONDS)
        world.model.go_away(10 * OUTAGE_SECONDS, "5xx")
        for number in range(TASKS):
            for tenant in (OURS, THEIRS):
                await outage.submit(f"{tenant} {number}", tenant, **({} if number % 3 else {"model": "other"}))
        await asyncio.sleep(OUTAGE_SECONDS)
        await story(outage)

    world.run(scenario)


ROUTES = pytest.mark.parametrize("deployment", [TOP, FREE, DIRECT], ids=["queue", "objects", "direct"])


@ROUTES
def test_tasks_of_all_tenants_go_on_within_ten_seconds(deployment: Deployment) -> None:
    """Once the model is back, `resume` lets all waiting tasks go on. The direct route works on one after another."""

    async def story(outage: Outage) -> None:
        await outage.passed(CALL_SECONDS + 1, CALL_SECONDS + 2)  # others must wait for their turn
        outage.world.model.away_until = began = outage.world.loop.time()
        done = await outage.sweep(resume=True)
        assert {one["model"]: one["answered"] for one in done["probed"]} == {"simulated-1": True, "other": True}
        assert done["resumed"] >= 2 * TASKS - 2
        await asyncio.sleep(max(0.0, began + GOES_ON_SECONDS - outage.world.loop.time()))
        if deployment is not DIRECT:
            assert len(outage.outputs) == 2 * TASKS
            return
        assert len(outage.outputs) > 2
        while len(outage.outputs) < 2 * TASKS:
            assert outage.world.loop.time() < began + 4 * CRON_SECONDS
            await asyncio.sleep(1)

    play(deployment, story)


@ROUTES
def test_each_model_is_called_once_and_others_wait_on(deployment: Deployment) -> None:
    """While the model is away, a resume costs one call of one task for each model. Pauses stay long."""

    async def story(outage: Outage) -> None:
        waits = _waits(outage.world)
        began = outage.world.loop.time()
        done = await outage.sweep(resume=True)
        assert {one["answered"] for one in done["probed"]} == {False}
        assert done["resumed"] == len(done["probed"]) == 2
        made = outage.since(began)
        extra = {name: many for name, many in made.items() if many > 1}
        assert not extra
        assert sum(made.values()) <= 4  # a task whose own pause ended may have called, too
        assert all(now >= before for before, now in zip(waits, _waits(outage.world), strict=True))
        assert (await outage.sweep(resume=True))["code"] == "too_soon"
        assert "resumed" not in await outage.sweep()

    play(deployment, story)


def _waits(world: World) -> list[int]:
    return [row[0] for row in world.database.connection.execute("SELECT away_waits FROM tasks ORDER BY id")]


@ROUTES
def test_a_sweep_without_it_ends_no_pause(deployment: Deployment) -> None:
    async def story(outage: Outage) -> None:
        fences = _fences(outage.world)
        before = outage.world.loop.time()
        assert "resumed" not in await outage.sweep()
        assert sum(outage.since(before).values()) <= 2
        assert _fences(outage.world) >= fences
        columns = "SELECT count(*) FROM tasks WHERE resumed_at IS NOT NULL"
        assert outage.world.database.connection.execute(columns).fetchone() == (0,)

    play(deployment, story)


def _fences(world: World) -> int:
    (found,) = world.database.connection.execute("SELECT sum(fence) FROM tasks").fetchone()
    return int(found)


@ROUTES
def test_a_new_task_probes_by_itself(deployment: Deployment) -> None:
    async def story(outage: Outage) -> None:
        if deployment is DIRECT:  # a run there has no time to wait, so its turn must have come
            await outage.passed(limits.AWAY_NEWCOMER_SECONDS, math.inf)
        else:
            await outage.passed(CALL_SECONDS + 1, CALL_SECONDS + 2)
        outage.world.model.away_until = began = outage.world.loop.time()
        await outage.submit("new", OURS)
        await asyncio.sleep(limits.AWAY_NEWCOMER_SECONDS + 3)
        assert outage.calls["new"][0] <= began + limits.AWAY_NEWCOMER_SECONDS + 2
        assert outage.outputs["new"]

    play(deployment, story, isolates=1)
