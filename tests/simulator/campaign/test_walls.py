"""Tests slow calls with the platform's time limits: no call may be under way when the platform ends an invocation."""

import asyncio
import json
from typing import Any

import pytest

from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import Arrival, ClientRequest
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.world import World
from src.kernel.api.base.messages import Reply

CHUNKS = 13  # three waves of six calls


class Nobody:
    """A watcher of clients that does nothing."""

    def arrived(self, arrival: Arrival) -> None:
        """See `Watcher`."""

    def read(self, arrival: Arrival) -> None:
        """See `Watcher`."""

    def counting(self, arrival: Arrival) -> None:
        """See `Watcher`."""

    def answered(self, arrival: Arrival, reply: Reply) -> None:
        """See `Watcher`."""


def usage(deployment: Deployment, call_seconds: float, **variables: str) -> tuple[dict[str, Any], float, int]:
    """Run a task without faults. Returns its usage, the seconds to its first call, and the calls made."""
    app = Onceover()
    app.watcher = Nobody()
    options = {"CHUNK_MAX_CHARS": "10", "REQUIRE_KEYS": "false", **variables}
    world = World(1, app, TEMPLATE, deployment=deployment, variables=options, model_seconds=(call_seconds,) * 2)

    async def scenario(world: World) -> tuple[dict[str, Any], float, int]:
        world.start_cron(60)
        body = {"input": "".join(f"w{at:03d} abc. " for at in range(CHUNKS))}
        task = json.loads((await world.fetch(ClientRequest("POST", "/api/tasks", lambda: body))).body)
        for _ in range(200):
            await asyncio.sleep(60)
            task = json.loads((await world.fetch(ClientRequest("GET", f"/api/tasks/{task['id']}"))).body)
            if task["terminal"]:
                break
        assert task["status"] == "completed"
        return task["usage"], world.model.records[0].at_seconds, len(world.model.records)

    return world.run(scenario)


@pytest.mark.parametrize(
    ("deployment", "call_seconds", "variables"),
    [
        (DIRECT, 1.0, {"AI_TIMEOUT_SECONDS": "20"}),
        (DIRECT, 19.0, {"AI_TIMEOUT_SECONDS": "20"}),
        (DIRECT, 35.0, {"AI_TIMEOUT_SECONDS": "120"}),
        (DIRECT, 500.0, {"AI_TIMEOUT_SECONDS": "600", "LEASE_SECONDS": "700"}),
        (TOP, 500.0, {"AI_TIMEOUT_SECONDS": "600", "LEASE_SECONDS": "700"}),
        (FREE, 500.0, {"AI_TIMEOUT_SECONDS": "600", "LEASE_SECONDS": "700"}),
        (FREE, 298.0, {"AI_TIMEOUT_SECONDS": "600", "LEASE_SECONDS": "700"}),
    ],
)
def test_without_faults_a_slow_model_is_asked_once_for_each_chunk(
    deployment: Deployment, call_seconds: float, variables: dict[str, str]
):
    spent, _, calls = usage(deployment, call_seconds, **variables)
    assert calls == spent["modelCalls"] == spent["minimumCalls"] == CHUNKS
    assert spent["inDoubt"] == 0


@pytest.mark.parametrize(("timeout", "at_once"), [("20", True), ("120", False)])
def test_a_direct_task_begins_at_once_or_at_the_next_cron_run(timeout: str, at_once: bool):
    _, first_at, _ = usage(DIRECT, 1.0, AI_TIMEOUT_SECONDS=timeout)
    assert first_at < 1 if at_once else 60 <= first_at < 61
