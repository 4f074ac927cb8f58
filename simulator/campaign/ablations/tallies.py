"""Ablations of the safeguards that keep the sums over ended tasks right."""

from random import Random

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import CRASHES, cancelling_late, erasing_soon, putting_back
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from src.kernel.store.tallies import COUNTED


def _for_minutes(rng: Random) -> Workload:
    """Draw small tasks that arrive over 400 s, so that sweeps add them to the sums while faults last."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=rng.uniform(0, 400), chunks=rng.choice((1, 2))) for _ in range(12))
    return Workload(tasks=specs, first=first, last=first)


def _deleting(rng: Random) -> Workload:
    """Draw tasks that clients cancel while calls are out, and delete after a sweep, before their calls are in doubt."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(
        TaskSpec(at=0, chunks=6, actions=((rng.uniform(0.5, 8), "cancel"), (rng.uniform(32, 50), "delete")))
        for _ in range(5)
    )
    return Workload(tasks=specs, first=first, last=first, short_slices=False)


def _cancelling_at_a_sweep(rng: Random) -> Workload:
    """Draw long tasks that clients cancel just before a sweep comes, while calls are out."""
    first = rng.choice(DEPLOYMENTS)
    specs = tuple(TaskSpec(at=0, chunks=60, actions=((rng.uniform(27, 30), "cancel"),)) for _ in range(5))
    return Workload(tasks=specs, first=first, last=first, variables={"AI_CONCURRENCY": "1"})


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
        "counted_when_erased_under_a_dead_worker",
        "if a task is erased whose end was added, the calls that its dead worker left are added by its erasure",
        (without.swapped("ERASE_COUNT_OPEN", "in_flight <> '[]'", "0"),),
        CRASHES,
        _deleting,
    ),
    Ablation(
        "calls_of_dead_workers_are_counted",
        "calls that a dead worker has left on an ended task are put in doubt and added to the sums",
        (without.swapped("SILENT", "LIMIT :most", "AND 0 LIMIT :most"),),
        CRASHES,
        cancelling_late(*DEPLOYMENTS, chunks=6),
    ),
    Ablation(
        "calls_of_dead_workers_are_left_to_live_ones",
        "calls of an ended task are not put in doubt as long as its worker may settle them",
        (
            without.swapped("SILENT", "announced_at + :claim_ms <=", ":claim_ms <="),
            without.swapped("COUNT_SILENT", "announced_at + :claim_ms <=", ":claim_ms <="),
            without.swapped("DOUBT_SILENT", "announced_at + :claim_ms <=", ":claim_ms <="),
        ),
        {},
        _cancelling_at_a_sweep,
    ),
    Ablation(
        "late_workers_settle_nothing",
        "a worker whose calls were put in doubt settles nothing",
        (without.swapped("DOUBT_SILENT", "fence = fence + 1", "fence = fence"),),
        {"worker_frozen": 0.08},
        cancelling_late(*DEPLOYMENTS, chunks=6),
    ),
    Ablation(
        "counted_when_put_back",
        "what of a bill has been added by the time of a retry is not added again",
        (without.swapped("RETRY", f"counted = {COUNTED}", "counted = '[]'"),),
        {},
        putting_back,
    ),
)
