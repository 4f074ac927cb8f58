"""Two releases of the code at work on one database: isolates whose code records outputs as the release before did."""

from dataclasses import replace
from random import Random
from typing import Any

from simulator.campaign.patches import Patch
from simulator.campaign.workload import Workload
from src.store.tasks import TaskStore


def mixed(workload: Workload, rng: Random) -> Workload:
    """The workload with some isolates, or all, whose code records each output as a row, in every third run."""
    return replace(workload, old_writers=rng.choice((0.0, 0.0, 0.0, 0.0, 0.5, 1.0)))


def old_writers(seed: int, share: float) -> Patch:
    """Have this share of the isolates of a run record outputs as rows. Which ones follows from the seed alone."""

    def writes_segments(store: Any) -> bool:
        isolate = store._database._binding._port.isolate
        return Random(f"{seed}/{isolate.name}").random() >= share

    return TaskStore, "writes_segments", property(writes_segments) if share else True
