"""Ablations of the safeguards that keep a task within its client's terms: its deadline and its budget."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import SHORT_FREEZES, hurried, thrifty
from simulator.campaign.ablations.definition import Ablation
from src.kernel.run import waits
from src.kernel.store import tasks

ABLATIONS = (
    Ablation(
        "deadline_in_progress",
        "no call is announced after the deadline",
        (without.swapped("PROGRESS", without.AND_IN_TIME, ""),),
        {"d1_slow": 0.2},
        hurried,
    ),
    Ablation(
        "deadline_in_finish",
        "no task completes after its deadline",
        (without.swapped("FINISH", without.AND_IN_TIME, ""),),
        {"d1_slow": 0.2},
        hurried,
    ),
    Ablation(
        "deadline_of_worker",
        "a worker starts nothing once the deadline may have come",
        ((waits.Terms, "starts_by", without.starts_by_announcement),),
        {"d1_slow": 0.2, "worker_frozen": 0.05},
        hurried,
        SHORT_FREEZES,
    ),
    Ablation(
        "expiry_by_sweep",
        "a task that nobody works on fails soon after its deadline",
        ((tasks.TaskStore, "expire", without.expire_nothing),),
        {"message_lost": 0.5},
        hurried,
    ),
    Ablation(
        "budget_of_worker",
        "a worker announces no call beyond the budget",
        ((waits.Terms, "calls_left", without.calls_without_end),),
        {},
        thrifty,
    ),
    Ablation(
        "budget_in_claim",
        "the first claim announces no call beyond the budget",
        (without.swapped("CLAIM", "min(total, coalesce(max_calls, total))", "total"),),
        {},
        thrifty,
    ),
)
