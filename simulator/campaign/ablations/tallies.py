"""Ablations of the safeguards that keep the sums over ended tasks right."""

from random import Random

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import erasing_soon, putting_back
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from src.store.sql.tallies import COUNTED


def _for_minutes(rng: Random) -> Workload:
    """Draw small tasks that arrive over 400 s, so that sweeps add them to the sums while faults last."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 400), chunks=rng.choice((1, 2))) for _ in range(12))
    return Workload(tasks=specs, first=first, last=first)


AGAIN = {"d1_failed_after_commit": 0.2, "d1_lands_later": 0.2}

ABLATIONS = (
    Ablation(
        "fold_once",
        "a fold that is sent again, or lands after another one, adds nothing",
        (without.swapped("FOLD", "coalesce((SELECT until FROM folds WHERE kept_ms = :kept_ms), 0) = :after", "1"),),
        AGAIN,
        _for_minutes,
    ),
    Ablation(
        "no_end_before_the_fold",
        "whatever the database's clock does, no task ends at a time that has been folded",
        tuple(
            without.swapped(name, "coalesce((SELECT max(until) + 1 FROM folds), 0)", "0")
            for name in ("FINISH", "FAIL", "CANCEL", "EXPIRE", "GIVE_UP", "DEAD_LETTER")
        ),
        {"clock_jumped": 0.8},
        _for_minutes,
    ),
    Ablation(
        "counted_when_erased",
        "a task that is erased before a fold came to it is added to the sums by its erasure",
        (without.swapped("ERASE_COUNT", "(finished_at IS NULL OR ", "(0 AND "),),
        {},
        erasing_soon,
    ),
    Ablation(
        "counted_when_put_back",
        "what of a bill has been added by the time of a retry is not added again",
        (without.swapped("RETRY", f"counted = {COUNTED}", "counted = '[]'"),),
        {},
        putting_back,
    ),
)
