"""Runs tasks and batches whose files lie in a bucket that stops being bound: another one is, with nothing in it."""

from random import Random
from typing import Any

import pytest

from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from simulator.campaign.runs.run import Result, run_plan
from simulator.campaign.runs.scenario import Scenario
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.world import World
from src.kernel.domain import limits
from tests.support.tiers import sized

SCHEDULES = sized(quick=10, test=10, campaign=200)
_ENDS = "SELECT kind, status, error_code, error_retryable, finished_at FROM tasks"


class _Rebound(Scenario):
    """A scenario in which another bucket is bound after some seconds. `ends` are the ends of all tasks."""

    def __init__(self, world: World, *arguments: Any, **options: Any) -> None:
        super().__init__(world, *arguments, **options)
        self.replaced_ms = 0
        self.ends: list[dict[str, Any]] = []

    async def run(self, world: World) -> None:
        def replace() -> None:
            self.replaced_ms = world.database.now_ms()
            world.servers.bucket.replace()

        world.loop.call_later(Random(world.seed).uniform(3, 12), replace, context=world.loop.outside)
        await super().run(world)

    def check(self) -> None:
        super().check()
        columns = ("kind", "status", "code", "retryable", "finished_at")
        found = self.world.database.connection.execute(_ENDS)
        self.ends = [dict(zip(columns, row, strict=True)) for row in found]


def test_tasks_whose_texts_are_in_another_bucket_wait_and_then_say_so() -> None:
    failed, made = 0, list[_Rebound]()

    class Kept(_Rebound):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    for seed in range(SCHEDULES):
        rng = Random(f"{seed}/other bucket")
        first = rng.choice(DEPLOYMENTS)
        filed = [TaskSpec(rng.uniform(0, 5), 20, text_in_file="whole") for _ in range(3)]
        workload = Workload(tasks=(*filed, TaskSpec(0, 6)), first=first, last=first, bucket=True)
        result = run_plan(Result(seed, "mine"), workload, FaultPlan(Random(seed)), Random(seed), scenario_class=Kept)
        assert result.failure is None, (seed, result.failure)
        ends, replaced_ms = made[-1].ends, made[-1].replaced_ms
        assert len(ends) == 4
        for end in ends:
            if end["status"] == "failed":
                waited = (end["finished_at"] - replaced_ms) / 1000
                assert (end["kind"], end["code"], end["retryable"]) == ("file", "input_missing", 1)
                assert waited == pytest.approx(1.6 * limits.LOST_PART_SECONDS, rel=0.4), seed
                failed += 1
            else:
                assert end["status"] == "completed", seed
    assert failed >= SCHEDULES
