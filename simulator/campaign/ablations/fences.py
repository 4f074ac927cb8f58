"""Ablations of the safeguards that let only one worker at a time write for a task: fences, leases and their clock."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import ALONE, BLIND, CRASHES, LOST_REPLIES, ZOMBIES, merging, some_tasks
from simulator.campaign.ablations.definition import Ablation
from simulator.platform.choices import DIRECT, FREE, TOP
from src.kernel.store.d1 import Database
from src.kernel.store.fragments import NOW

ABLATIONS = (
    Ablation(
        "fence_in_outputs",
        "outputs of a worker that lost its claim are refused, though its successor has written no piece yet",
        (without.swapped("RECORD_OUTPUTS", without.FENCED, without.STEP_ONLY),),
        {"worker_frozen": 0.15, "duplicate_delivery": 0.5},
        some_tasks(TOP, FREE),
    ),
    Ablation(
        "fence_in_merge_plan",
        "the plan of a merge's level by a worker that lost its claim is refused",
        (without.swapped("RECORD_MERGE", without.FENCED, without.UNFENCED),),
        {"worker_frozen": 0.15, "duplicate_delivery": 0.5},
        merging,
        ALONE,
    ),
    Ablation(
        "fence_in_progress",
        "totals and announcements of a worker that lost its claim are refused",
        (without.swapped("PROGRESS", without.FENCED, without.UNFENCED),),
        {"d1_lands_later": 0.2, "d1_never_answers": 0.05} | CRASHES,
        some_tasks(TOP, FREE),
        BLIND,
    ),
    Ablation(
        "fence_in_release",
        "a worker that lost its claim cannot give the task away",
        (without.swapped("RELEASE", without.FENCED, without.UNFENCED),),
        ZOMBIES | LOST_REPLIES,
        some_tasks(TOP, FREE),
    ),
    Ablation(
        "fence_in_finish",
        "a worker that lost its claim cannot complete the task",
        (without.swapped("FINISH", without.FENCED, without.UNFENCED),),
        {"worker_frozen": 0.15, "duplicate_delivery": 0.5},
        some_tasks(TOP, FREE),
        ALONE,
    ),
    Ablation(
        "lease_in_claim",
        "a duplicate that meets a live lease does nothing",
        (without.swapped("CLAIM", f"lease_until <= {NOW} OR", "1 OR"),),
        {"duplicate_delivery": 0.5},
        some_tasks(TOP),
    ),
    Ablation(
        "database_clock",
        "leases are judged by the database's clock, not by isolates'",
        ((Database, "run", without.run_by_isolates_clock),),
        {"clock_skewed": 0.6, "duplicate_delivery": 0.5},
        some_tasks(TOP),
    ),
    Ablation(
        "named_hosts_only",
        "only an object takes over from itself, no nameless host from another",
        (without.swapped("STANDING", "host = :host AND :host <> ''", "host = :host"),),
        {"duplicate_delivery": 0.5},
        some_tasks(TOP, DIRECT),
    ),
    Ablation(
        "retry_raises_fence",
        "a worker from before a retry is refused",
        (without.swapped("RETRY", "fence = fence + 1,", ""),),
        {"user_raced": 0.5},
    ),
)
