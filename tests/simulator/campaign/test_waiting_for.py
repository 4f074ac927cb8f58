"""Tests what a waiting task shows in `waitingFor`, on each route and after deaths, with the whole Worker."""

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.queues import QueueSettings
from simulator.platform.world import EPOCH_MS, World
from src.kernel.domain.errors import ModelError, ModelRateLimited, ModelTimeout
from tests.simulator.campaign.test_walls import unwatched

type Decide = Callable[[float], tuple[str, ModelError | None, float]]
Told = list[tuple[float, dict[str, Any]]]

ROUTES = [TOP, FREE, DIRECT]
each_route = pytest.mark.parametrize("deployment", ROUTES, ids=["queue", "objects", "direct"])
LEASE_SECONDS, CRON_SECONDS = 60, 60
SWEEP_SECONDS = 2 * LEASE_SECONDS + CRON_SECONDS  # the longest time until a task without a live worker continues
OPTIONS = {
    "CHUNK_MAX_CHARS": "10",
    "REQUIRE_KEYS": "false",
    "PLAN": "paid",
    "AI_TIMEOUT_SECONDS": "20",
    "LEASE_SECONDS": str(LEASE_SECONDS),
    "MAX_ATTEMPTS": "8",
}
OK = "ok", None, 1.0


class Watched:
    """A simulated world with some tasks, in which a client reads one task every half second."""

    def __init__(self, deployment: Deployment, decide: Decide, *, consumers: int = 4, **variables: str) -> None:
        self.world = unwatched(
            deployment,
            OPTIONS | variables,
            queue_settings=QueueSettings(max_concurrency=consumers),
            max_steps=20_000_000,
        )
        self.loop = self.world.loop
        self.world.model._decide = lambda call, sender: decide(self.loop.time())  # type: ignore[method-assign]
        self.told: Told = []
        self.last: dict[str, Any] = {}

    @property
    def calls(self) -> list[float]:
        return [record.at_seconds for record in self.world.model.records]

    async def submit(self, chunks: int) -> str:
        body = {"input": "".join(f"w{at:03d} abc. " for at in range(chunks))}
        reply = await self.world.fetch(ClientRequest("POST", "/api/tasks", lambda: body))
        path: str = json.loads(reply.body)["links"]["self"]
        return path

    async def look(self, path: str) -> dict[str, Any]:
        reply = await self.world.fetch(ClientRequest("GET", path))
        task: dict[str, Any] = json.loads(reply.body)
        self.last = task | {"retryAfter": int(reply.headers.get("Retry-After", 0))}
        return self.last

    def watch(self, chunks: int = 3, *, kill_at: Sequence[float] = ()) -> Told:
        async def scenario(world: World) -> None:
            world.start_cron(CRON_SECONDS)
            path = await self.submit(chunks)
            deaths = list(kill_at)
            while self.loop.time() < 900:
                if deaths and self.loop.time() >= deaths[0]:
                    world.restart()
                    del deaths[0]
                task = await self.look(path)
                self.told.append((self.loop.time(), task))
                if task["terminal"]:
                    return
                await asyncio.sleep(0.5)

        self.world.run(scenario)
        return self.told

    def polls(self, chunks: int, until: float) -> int:
        async def scenario(world: World) -> int:
            world.start_cron(CRON_SECONDS)
            path, count = await self.submit(chunks), 0
            await asyncio.sleep(1)
            while self.loop.time() < until:
                count += 1
                await asyncio.sleep((await self.look(path))["retryAfter"])
            return count

        return self.world.run(scenario)


def waits(told: Told, reason: str) -> list[tuple[float, float | None]]:
    """Return when a reason was shown, with the shown end of the wait, in the world's seconds."""
    found = [(at, task["waitingFor"]) for at, task in told]
    return [
        (at, None if wait["until"] is None else _seconds(wait["until"]))
        for at, wait in found
        if wait is not None and wait["reason"] == reason
    ]


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp() - EPOCH_MS / 1000


def check_untils(shown: list[tuple[float, float | None]], acts: Sequence[float], late_most: float) -> None:
    known = [(at, until) for at, until in shown if until is not None]
    assert known
    for at, until in known:
        assert until >= at - 0.5
        assert [act for act in acts if at < act < until - 0.5] == []
        assert [act for act in acts if until - 0.5 <= act <= until + late_most]


@each_route
@pytest.mark.parametrize("killed", [False, True])
def test_a_model_that_is_away(deployment: Deployment, killed: bool):
    """`model_away` is shown until the next call, also if all isolates died during the wait."""
    watched = Watched(deployment, lambda now: OK)
    watched.world.model.go_away(150, "5xx")
    death = 6 if deployment is DIRECT else 60  # a time at which the task is waiting for its model
    told = watched.watch(kill_at=(death,) if killed else ())
    late = SWEEP_SECONDS if killed else CRON_SECONDS + 5 if deployment is DIRECT else 5
    check_untils(waits(told, "model_away"), watched.calls, late)
    if killed:
        assert [at for at, until in waits(told, "model_away") if until is not None and death + 0.5 < at < until]
    waiting = [task for _, task in told if (task["waitingFor"] or {}).get("reason") == "model_away"]
    assert {task["lastError"]["code"] for task in waiting} == {"model_unavailable"}
    assert max(task["lastError"]["calls"] for task in waiting) >= 4
    assert {task["estimatedFinishAt"] for task in waiting} == {None}  # no end is estimated before a call has finished
    _, last = told[-1]
    assert (last["status"], last["waitingFor"], last["lastError"]) == ("completed", None, None)


@pytest.mark.parametrize("deployment", [TOP, DIRECT], ids=["queue", "direct"])
def test_a_model_that_is_away_to_others(deployment: Deployment):
    """A task without a failed call also shows `model_away`, once its worker waits for its turn to call the model."""
    watched = Watched(deployment, lambda now: OK, consumers=40)
    watched.world.model.go_away(150, "5xx")
    reasons: list[str | None] = []

    async def scenario(world: World) -> None:
        world.start_cron(CRON_SECONDS)
        paths = [await watched.submit(3) for _ in range(30)]
        while watched.loop.time() < 100:
            for path in paths:
                task = await watched.look(path)
                (idle,) = world.database.connection.execute(
                    "SELECT in_flight = '[]' AND away_since IS NULL FROM tasks WHERE id LIKE ?", (f"%{task['id']}",)
                ).fetchone()
                if idle and task["status"] == "processing":
                    reasons.append((task["waitingFor"] or {}).get("reason"))
            await asyncio.sleep(0.5)

    watched.world.run(scenario)
    assert len(reasons) > 10
    assert set(reasons) == {"model_away"}


@each_route
def test_who_obeys_a_limited_model_asks_little(deployment: Deployment):
    watched = Watched(deployment, lambda now: ("429", ModelRateLimited("429", 1.0), 0.2) if now < 90 else OK)
    assert watched.polls(12, until=90) <= 12
    assert len([at for at in watched.calls if at < 90]) >= 4


@each_route
def test_who_obeys_a_hanging_model_asks_little(deployment: Deployment):
    timeout = "20" if deployment is DIRECT else "60"
    hang = "hang", ModelTimeout("hang"), float(timeout)
    watched = Watched(deployment, lambda now: hang if now < 10 else OK, AI_TIMEOUT_SECONDS=timeout, LEASE_SECONDS="180")
    assert watched.polls(12, until=60) <= 8
