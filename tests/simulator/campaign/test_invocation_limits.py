"""Checks that the simulated platform enforces the free plan's limits, and that the Worker never exceeds them."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from simulator.campaign.clients.workload import Workload, draw
from simulator.campaign.runs.fault_rates import PROFILES, rates
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.runs.scenario import Scenario
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.small_limits import small_limits, variables
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.choices import FREE
from simulator.platform.invocation_limits import InvocationLimits
from simulator.platform.queues import QueueSettings
from simulator.platform.world import World

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
