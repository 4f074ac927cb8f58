"""Slow calls and the platform's limits: none is under way when an invocation ends, or exceeds the free plan."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from simulator.campaign.clients.workload import Workload, draw
from simulator.campaign.load.overload import Bystander
from simulator.campaign.runs.fault_rates import PROFILES, rates
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.runs.scenario import Scenario
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.small_limits import small_limits, variables
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.choices import DIRECT, FREE, TOP, Deployment
from simulator.platform.invocation_limits import InvocationLimits
from simulator.platform.queues import QueueSettings
from simulator.platform.world import World

CHUNKS = 13  # three waves of six calls


def unwatched(deployment: Deployment, variables: dict[str, str], **options: Any) -> World:
    """Return a world without faults, whose requests nothing checks."""
    app = Onceover()
    app.watcher = Bystander()
    return World(1, app, TEMPLATE, deployment=deployment, variables=variables, **options)


def usage(deployment: Deployment, call_seconds: float, **variables: str) -> tuple[dict[str, Any], float, int]:
    """Run a task without faults. Returns its usage, the seconds to its first call, and the calls made."""
    options = {"CHUNK_MAX_CHARS": "10", "REQUIRE_KEYS": "false", **variables}
    world = unwatched(deployment, options, model_seconds=(call_seconds,) * 2)

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


SEEDS = 300
CONNECTIONS = 6
CRASHING = ("swarm", "everything")
OURS = 45  # the Worker's own limit of subrequests; the platform's limit is 50


def run(seed: int, workload: Workload, profile: str, rng: Random, **fault_rates: float) -> InvocationLimits:
    """Run a workload on the free plan, and return the limits with what was used. Raises if an invariant breaks."""
    fault_rng = Random(f"{seed}/faults")
    with small_limits(short_slices=workload.short_slices, small_parts=workload.small_parts, small_windows=False):
        world = World(
            seed,
            Onceover(),
            TEMPLATE,
            faults=FaultPlan(fault_rng, rates(profile, fault_rng, Random(seed), Random(seed)) | fault_rates),
            deployment=workload.first,
            variables=variables(plan="free", retention_days=workload.retention_days) | workload.variables,
            queue_settings=QueueSettings(max_batch_size=workload.batch, mode=workload.queue_mode),
            strict_gates=workload.strict_gates,
            limits="free",
        )
        world.run(Scenario(world, workload, rng).run)
    assert world.network.limits is not None
    return world.network.limits


def seeds() -> Iterator[tuple[int, Random, Workload, str]]:
    for seed in range(SEEDS):
        rng = Random(f"{seed}/limits")
        drawn = draw(rng)
        first = replace(drawn.tasks[0], chunks=rng.choice((25, 40, 60)))
        drawn = replace(drawn, plan="free", small_parts=False)  # small parts turn one output into many statements
        yield seed, rng, replace(drawn, tasks=(first, *drawn.tasks[1:])), PROFILES[seed % len(PROFILES)]


@pytest.mark.campaign
def test_objects_alone_stay_within_the_free_plan():
    most = 0
    for seed, rng, drawn, profile in seeds():
        changes = tuple(replace(change, deployment=FREE) for change in drawn.changes)
        # The rate of `upgraded` is 0, because that fault changes to other deployments.
        limits = run(seed, replace(drawn, first=FREE, last=FREE, changes=changes), profile, rng, upgraded=0)
        assert not limits.refused, f"seed {seed} ({profile})"
        # With crashes, an abandoned call may keep its connection until the other side dies, and the next call waits.
        assert profile in CRASHING or limits.most.waiting <= CONNECTIONS, f"seed {seed} ({profile})"
        most = max(most, limits.most.subrequests)
    assert 30 < most <= OURS  # the tasks are long enough to come near the limit of subrequests


@pytest.mark.campaign
def test_routes_that_come_and_go_stay_within_the_free_plan():
    for seed, rng, drawn, profile in seeds():
        limits = run(seed, drawn, profile, rng)
        assert not limits.refused, f"seed {seed} ({profile})"
