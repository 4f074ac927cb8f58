"""Checks that tasks survive twenty SIGKILLs in a row, while a task that kills each of its workers fails."""

from dataclasses import dataclass
from random import Random
from typing import Any

from simulator.campaign.clients.workload import DEPLOYMENTS, LONG_CHUNKS, Change, TaskSpec, Workload
from simulator.campaign.runs import scenario
from simulator.campaign.runs.run import Result, run_plan
from simulator.campaign.runs.scenario import Scenario
from simulator.campaign.subject.patches import patched
from simulator.engine.fault_plan import FaultPlan
from simulator.platform.choices import Deployment
from simulator.platform.world import World
from src.kernel.calls.protocol import ModelCall

KILLS = 20
CRON_SECONDS = 60  # The interval of cron, as in a deployment.
_PRODUCTION = {"LEASE_SECONDS": "180", "AI_TIMEOUT_SECONDS": "120", "AI_CONCURRENCY": "6"}
_DIES_AFTER_SECONDS = 0.3
# The range of a model call's seconds: so slow that most kills find a claim without a finished call.
_SLOW_CALL_SECONDS = (3, 14)


class Slow(Scenario):
    """A scenario with a slow model."""

    def __init__(self, world: World, *args: Any, **options: Any) -> None:
        super().__init__(world, *args, **options)
        world.model.seconds = _SLOW_CALL_SECONDS


def kills_in_a_row(seed: int) -> Result:
    """Kill all isolates twenty times, at random moments, while tasks are under way. Then let the tasks end."""
    rng = Random(f"{seed}/innocence")
    deployment = rng.choice(DEPLOYMENTS)
    pause = rng.choice((1, 4, 15))
    moments = [rng.uniform(0, 2 * pause) for _ in range(KILLS)]
    changes = [Change(at=sum(moments[: kill + 1]), deployment=deployment, restart=True) for kill in range(KILLS)]
    specs = [
        TaskSpec(
            at=rng.uniform(0, KILLS * pause / 2),
            chunks=rng.choice((1, 2, 6, LONG_CHUNKS)),
            reduce=rng.choice(("concat", "merge")),
        )
        for _ in range(4)
    ]
    workload = Workload(
        tasks=tuple(specs),
        changes=tuple(changes),
        first=deployment,
        last=deployment,
        plan=rng.choice(("free", "paid")),
        queue_mode=rng.choice(("production", "local")),
        short_slices=rng.random() < 0.5,
    )
    return run_plan(Result(seed, "innocence"), workload, FaultPlan(rng, {}), rng, crashes=True, scenario_class=Slow)


@dataclass(slots=True)
class Poisoned:
    """The result of a task that kills its workers: its run, and the seconds from its acceptance to its failure."""

    result: Result
    seconds: float = 0.0


def poison(deployment: Deployment, chunks: int) -> Poisoned:
    """Run a task with production settings; all isolates are killed soon after each of its model calls."""
    poisoned = Poisoned(Result(0, "poison"))

    class Killed(Slow):
        """A scenario in which model calls kill all isolates, and which records how long its task took to fail."""

        def __init__(self, world: World, *args: Any, **options: Any) -> None:
            super().__init__(world, *args, **options)
            served, dying = world.model.serve, False

            def die() -> None:
                nonlocal dying
                dying = False
                world.restart(lose_queue=False)

            def serve(call: ModelCall, sender: str, reply: Any) -> None:
                nonlocal dying
                served(call, sender, reply)
                if not dying:
                    dying = True
                    world.loop.call_later(_DIES_AFTER_SECONDS, die, context=world.loop.outside)

            world.model.serve = serve  # type: ignore[method-assign]

        def check(self) -> None:
            super().check()
            query = "SELECT max(finished_at - created_at) FROM tasks"
            (milliseconds,) = self.world.database.connection.execute(query).fetchone()
            poisoned.seconds = milliseconds / 1000

    rng = Random("poison")
    workload = Workload(
        tasks=(TaskSpec(at=0, chunks=chunks),),
        first=deployment,
        last=deployment,
        short_slices=False,
        variables=_PRODUCTION,
    )
    with patched(((scenario, "CRON_SECONDS", CRON_SECONDS),)):
        run_plan(poisoned.result, workload, FaultPlan(rng, {}), rng, crashes=True, scenario_class=Killed)
    return poisoned
