"""Checks that the simulated platform enforces the free plan's limits, and that the Worker never exceeds them."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from simulator.campaign.clients.workload import Workload, draw
from simulator.campaign.runs.fault_rates import PROFILES, rates
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.runs.scenario import Scenario
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.small_limits import small_limits, variables
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.app import Env, ScheduledController, WorkerContext
from simulator.platform.choices import FREE
from simulator.platform.invocation_limits import TOO_MANY_STATEMENTS, TOO_MANY_SUBREQUESTS, InvocationLimits, Use
from simulator.platform.queues import DeliveredBatch, QueueSettings
from simulator.platform.world import ClientError, World

SEEDS = 300
CONNECTIONS = 6
CRASHING = ("swarm", "everything")
OURS = 45  # the Worker's own limit of subrequests; the platform's limit is 50


class Greedy:
    """A Worker that makes the number of D1 calls and statements that a test sets."""

    def __init__(self, env: Env) -> None:
        self._env = env

    def make_isolate(self, env: Env) -> "Greedy":
        return Greedy(env)

    def make_object(self, class_name: str, ctx: Any, env: Env) -> Any:
        raise AssertionError("the test only fetches")

    async def fetch(self, request: tuple[int, int], ctx: WorkerContext) -> str:
        calls, statements = request
        for _ in range(calls):
            await self._env.DB.batch([self._env.DB.prepare("SELECT 1")] * statements)
        return "done"

    async def queue(self, batch: DeliveredBatch, ctx: WorkerContext) -> None:
        raise AssertionError("the test only fetches")

    async def scheduled(self, controller: ScheduledController, ctx: WorkerContext) -> None:
        raise AssertionError("the test only fetches")


@pytest.mark.parametrize(
    ("plan", "calls", "statements", "refusal"),
    [
        ("free", 50, 1, None),
        ("free", 51, 1, TOO_MANY_STATEMENTS),
        ("free", 25, 2, None),
        ("free", 26, 2, TOO_MANY_STATEMENTS),
        ("free", 1, 51, TOO_MANY_STATEMENTS),
        ("paid", 51, 2, None),
        (None, 51, 60, None),
    ],
)
def test_an_invocation_is_held_to_its_plan(plan: Any, calls: int, statements: int, refusal: str | None):
    """The platform refuses the 51st statement of an invocation with D1's error, in one batch or over many calls."""
    world = World(1, Greedy(Env({}, {}, None)), TEMPLATE, limits=plan)  # type: ignore[arg-type]

    async def scenario(world: World) -> None:
        for _ in range(2):  # the limits count the second invocation from zero
            if refusal is None:
                assert await world.fetch((calls, statements)) == "done"
            else:
                with pytest.raises(ClientError, match=refusal):
                    await world.fetch((calls, statements))

    world.run(scenario)


def test_subrequests_of_all_kinds_add_up():
    """The platform refuses the 51st subrequest of an invocation, whatever the kinds of the subrequests."""
    limits = InvocationLimits("free")
    use = Use()
    assert [limits.spend(use, "model.infer", 0) for _ in range(50)] == [None] * 50
    assert limits.spend(use, "queue.send", 0) == TOO_MANY_SUBREQUESTS
    assert (limits.most.subrequests, limits.most.waiting, len(limits.refused)) == (50, 50, 1)


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
    """With only Durable Objects and all faults, no invariant breaks, and the platform refuses no subrequest."""
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
    """When deployments add and remove queues and objects under running tasks, the platform refuses no subrequest."""
    for seed, rng, drawn, profile in seeds():
        limits = run(seed, drawn, profile, rng)
        assert not limits.refused, f"seed {seed} ({profile})"
