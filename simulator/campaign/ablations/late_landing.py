"""Ablations of what makes a write harmless that was given up and lands later, when its caller has gone on."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import erasing_soon, some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.workload import DEPLOYMENTS

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
        "tombstone_in_submission",
        "a submission that lands after its task was erased brings nothing back",
        (without.swapped("INSERT_TASK", "WHERE id = :task_key)", "WHERE id = '' AND :task_key = :task_key)"),),
        LATE,
        erasing_soon,
    ),
)
