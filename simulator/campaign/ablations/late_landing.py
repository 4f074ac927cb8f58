"""Ablations of the safeguards that make a write harmless if it lands after its caller has given it up."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import erasing_soon, putting_back, some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS
from simulator.platform.choices import FREE

LATE = {"d1_lands_later": 0.3}

ABLATIONS = (
    Ablation(
        "step_in_progress",
        "totals and announcements that land after later ones of the same claim are refused",
        (without.swapped("PROGRESS", "step <= :step", ":step = :step"),),
        LATE,
        some_tasks(*DEPLOYMENTS),
    ),
    Ablation(
        "late_pieces",
        "outputs that land after later ones of the same claim are refused, by the step and by their segment",
        (
            without.swapped_parts(
                "RECORD_OUTPUTS", {without.FENCED: without.FENCED_ONLY, without.LATER_PIECE: without.SAME_PIECE}
            ),
        ),
        LATE,
        some_tasks(*DEPLOYMENTS),
    ),
    Ablation(
        "tombstone_in_submission",
        "a submission that lands after its task was erased brings nothing back",
        (without.swapped("INSERT_TASK", "WHERE id = :task_key)", "WHERE id = '' AND :task_key = :task_key)"),),
        LATE,
        erasing_soon,
    ),
    Ablation(
        "generation_in_cancel",
        "a cancellation that lands after its task was put back cancels nothing",
        (without.swapped("CANCEL", "generation = :generation", ":generation = :generation"),),
        LATE,
        putting_back,
    ),
    Ablation(
        "generation_in_retry",
        "a retry that lands after its task was put back, and has ended again, puts nothing back",
        (
            without.swapped("RETRY", "generation = :generation", ":generation = :generation"),
            without.swapped("RETRY_FAILURES", "generation = :generation", ":generation = :generation"),
        ),
        LATE,
        putting_back,
    ),
    Ablation(
        "claim_names_its_predecessor",
        "an object's claim that lands after its successor's takes nothing over",
        (
            without.swapped(
                "CLAIM", "fence = :seen_fence", "(host = :host AND :host <> '' AND :seen_fence IS :seen_fence)"
            ),
        ),
        LATE | {"object_evicted": 0.2, "crash_after": 0.05},
        some_tasks(FREE),
    ),
)
