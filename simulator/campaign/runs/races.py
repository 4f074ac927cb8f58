"""Runs two workers on one task in every order of their steps that deviates from first in, first out a few times."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Literal

from simulator.campaign.clients.workload import TaskSpec, Workload
from simulator.campaign.runs.run import TEMPLATE
from simulator.campaign.runs.scenario import CRON_SECONDS, Scenario
from simulator.campaign.subject.adapter import Onceover
from simulator.campaign.subject.arrivals import ClientRequest
from simulator.campaign.subject.row_changes import InvariantBroken
from simulator.campaign.subject.small_limits import LEASE_SECONDS, small_limits, variables
from simulator.engine.fault_plan import FaultPlan
from simulator.engine.policies import Scripted, explore
from simulator.platform.structured_clone import to_json
from simulator.platform.world import World
from src.core.ids import split_task_key
from src.queue import messages

type Kind = Literal["duplicate", "take_over", "cancel"]


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The result of one schedule: the task's last fence, the number of its calls, and how the task ended."""

    fence: int
    calls: int
    status: str


def race(policy: Scripted, kind: Kind, chunks: int) -> RaceResult:
    """Run one schedule of two workers. Raises InvariantBroken.

    With `duplicate` the task's message is delivered twice at once. With `take_over` the first worker's lease ends, and
    the second worker comes, at the moment when the first worker has its answers and writes them. With `cancel` a client
    cancels and retries the task during the work.
    """
    spec = TaskSpec(at=0, chunks=chunks)
    plan = FaultPlan(Random("race"), {"message_lost": 1.0})
    with small_limits(short_slices=False, small_parts=False, small_windows=False):
        world = World(
            "race",
            Onceover(),
            TEMPLATE,
            faults=plan,
            scheduling=policy,
            variables=variables(),
            latency_seconds=0,
            model_seconds=(1.0, 1.0),
        )
        scenario = Scenario(world, Workload(tasks=(spec,)), Random("race"), crashes=True)

        async def main(world: World) -> RaceResult:
            return await _two_workers(world, scenario, spec, kind, policy)

        return world.run(main)


async def _two_workers(world: World, scenario: Scenario, spec: TaskSpec, kind: Kind, policy: Scripted) -> RaceResult:
    await scenario.clients.play(spec)
    (task_key,) = scenario.clients.answered
    world.faults.stop()
    body = to_json(messages.write(task_key))
    world.queue.accept(body)
    if kind == "take_over":
        await asyncio.sleep(1.0)
        world.database.offset_ms += LEASE_SECONDS * 1000 + 1
    if kind == "cancel":
        await asyncio.sleep(0.5)
        path = f"/api/tasks/{split_task_key(task_key)[1]}"
        asyncio.ensure_future(scenario.clients.fetch(ClientRequest("POST", f"{path}/cancel")))  # noqa: RUF006
        asyncio.ensure_future(scenario.clients.fetch(ClientRequest("POST", f"{path}/retry")))  # noqa: RUF006
        await asyncio.sleep(0.5)
    world.queue.accept(body)
    world.start_cron(CRON_SECONDS)
    await scenario.all_ended()
    await asyncio.sleep(1.0)  # Only model calls take time here, so by now both workers have ended.
    policy.end()
    await world.quiet(200)
    scenario.check()
    row = scenario.invariants.rows[task_key]
    calls = scenario.invariants.reached[scenario.invariants.tags[task_key]]
    if kind == "duplicate" and (row.fence, calls) != (1, row.minimum):
        raise InvariantBroken(f"{calls} calls and fence {row.fence} under a duplicate delivery")
    return RaceResult(row.fence, calls, row.status)


def all_races(kind: Kind, chunks: int, deviations_most: int) -> Iterator[RaceResult]:
    """Run every schedule with at most `deviations_most` deviations from first in, first out."""
    for _, outcome in explore(lambda policy: race(policy, kind, chunks), deviations_most=deviations_most):
        yield outcome
