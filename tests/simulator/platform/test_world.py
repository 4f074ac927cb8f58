"""Tests the shrinking of a failure in the simulated world."""

from random import Random

from simulator.engine.fault_plan import FaultPlan
from simulator.engine.shrinking import shrink
from simulator.platform.world import ClientError, World
from tests.simulator.toy_app import TEMPLATE, ToyApp, mark


def test_a_failure_shrinks_to_the_faults_that_matter():
    def plan_for(seed: int, muted: frozenset[int]) -> FaultPlan:
        rates = {"d1_failed_after_commit": 0.2, "clock_skewed": 1.0, "message_delayed": 1.0, "model_slow": 0.5}
        return FaultPlan(Random(seed), rates, muted=muted, keep_timeline=True)

    async def fetch(env, request, ctx) -> None:
        await mark(env, request, "sent")

    async def scenario(world: World) -> bool:
        failed = False
        for at in range(12):
            try:
                await world.fetch(str(at))
            except ClientError:
                failed = True
        return failed

    def fails(muted: frozenset[int]) -> bool:
        return World(5, ToyApp(fetch=fetch), TEMPLATE, faults=plan_for(5, muted)).run(scenario)

    plan = plan_for(5, frozenset())
    assert World(5, ToyApp(fetch=fetch), TEMPLATE, faults=plan).run(scenario)
    assert plan.tallies["d1_failed_after_commit"].fired > 1
    muted = shrink(fails, len(plan.fired_in_order))
    final = plan_for(5, muted)
    assert World(5, ToyApp(fetch=fetch), TEMPLATE, faults=final).run(scenario)
    assert {name: tally.fired for name, tally in final.tallies.items() if tally.fired} == {"d1_failed_after_commit": 1}
    assert "d1_failed_after_commit" in final.report()
