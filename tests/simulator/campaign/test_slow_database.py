"""Runs one task of the whole Worker on a slow database: it must end on each route, without additional writes."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.platform.binding_port import Reply
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.d1 import DatabaseServer, PreparedStatement
from simulator.platform.world import World
from src.kernel.domain import limits
from tests.simulator.campaign.test_walls import Nobody

OPTIONS = {"CHUNK_MAX_CHARS": "10", "REQUIRE_KEYS": "false", "PLAN": "paid", "AI_TIMEOUT_SECONDS": "20"}


class Seen:
    """What a run recorded of a task at its end, or when the time was up."""

    def __init__(self) -> None:
        self.row: dict[str, Any] = {}
        self.calls = 0
        self.batches = 0
        self.minutes = 0.0


def slow_down(server: DatabaseServer, seconds: float, seen: Seen) -> None:
    carry_out = server.serve

    def serve(statements: Sequence[PreparedStatement], reply: Reply, latency: Callable[..., object]) -> None:
        seen.batches += 1
        latency(seconds, carry_out, statements, reply, latency)

    server.serve = serve  # type: ignore[method-assign]


def work(deployment: Deployment, chunks: int, seconds: float, minutes_most: float) -> Seen:
    app, seen = Onceover(), Seen()
    app.watcher = Nobody()
    world = World(1, app, TEMPLATE, deployment=deployment, variables=OPTIONS, model_seconds=(1.0, 1.0))

    async def scenario(world: World) -> None:
        world.start_cron(60)
        body = {"input": "".join(f"w{at:03d} abc. " for at in range(chunks))}
        task = json.loads((await world.fetch(ClientRequest("POST", "/api/tasks", lambda: body))).body)
        slow_down(world.database, seconds, seen)
        began = world.loop.time()
        while world.loop.time() < began + minutes_most * 60:
            await asyncio.sleep(0.5)
            cursor = world.database.connection.execute("SELECT * FROM tasks WHERE id = ?", ("local:" + task["id"],))
            seen.row = dict(zip([column[0] for column in cursor.description], cursor.fetchone(), strict=True))
            if seen.row["finished_at"] is not None:
                break
        seen.calls = len(world.model.records)
        seen.minutes = (world.loop.time() - began) / 60

    world.run(scenario)
    return seen


@pytest.mark.parametrize("deployment", [TOP, FREE, DIRECT], ids=lambda deployment: deployment.name)
@pytest.mark.parametrize(("chunks", "seconds"), [(12, 2.2), (12, 9.0), (100, 2.2)])
def test_a_task_on_a_slow_database_ends(deployment: Deployment, chunks: int, seconds: float):
    """It makes one call a chunk, as the time to start follows the database's latency."""
    seen = work(deployment, chunks, seconds, minutes_most=20)
    assert (seen.row["status"], seen.calls) == ("completed", chunks)
    assert (seen.row["attempts"], seen.row["stalls"], seen.row["calls_in_doubt"]) == (1, 0, 0)
    assert seen.batches <= limits.WRITES_A_CALL * chunks + limits.WRITES_A_MINUTE * seen.minutes


@pytest.mark.parametrize("deployment", [TOP, FREE, DIRECT], ids=lambda deployment: deployment.name)
def test_a_database_that_is_too_slow_for_any_call_is_left_alone(deployment: Deployment):
    seen = work(deployment, 6, 25.0, minutes_most=20)
    assert (seen.row["finished_at"], seen.calls, seen.row["stalls"]) == (None, 0, 0)
    assert seen.row["idle_runs"] >= 5
    writes = seen.row["step"] + seen.row["fence"]  # the number of writes of all runs, claims included
    assert writes <= limits.WRITES_AT_FIRST + limits.WRITES_A_MINUTE * seen.minutes
