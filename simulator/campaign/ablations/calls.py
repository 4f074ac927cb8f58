"""Ablations of what keeps the bill and the outputs true: announced calls, doubts, and writes that come twice."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import CRASHES, LOST_REPLIES, refused
from simulator.campaign.ablations.definition import Ablation
from src.processing import ledger
from src.store import tasks

ABLATIONS = (
    Ablation(
        "intent_record",
        "calls are announced before they are made",
        (
            (ledger.Ledger, "progress", without.progress_without_intent),
            (tasks.TaskStore, "claim", without.claim_without_intent),
        ),
        CRASHES,
    ),
    Ablation(
        "doubt_at_take_over",
        "what a dead worker had announced is put in doubt",
        (
            without.swapped(
                "CLAIM",
                "calls_in_doubt + CASE WHEN holder IS NOT :holder THEN json_array_length(in_flight) ELSE 0 END",
                "calls_in_doubt",
            ),
        ),
        CRASHES,
    ),
    Ablation(
        "failure_in_claim",
        "a call that failed for good is not made again by the next worker",
        (without.swapped("CLAIM_FAILURES", "task_id = :task_key AND", "task_id = :task_key AND final = 0 AND"),),
        CRASHES,
        refused,
    ),
    Ablation(
        "idempotent_checkpoint",
        "an output that is written again is the same output",
        (without.swapped("CHECKPOINT", "ON CONFLICT DO NOTHING", ""),),
        LOST_REPLIES,
    ),
    Ablation("absolute_totals", "totals are written as totals", without.incremental(), LOST_REPLIES),
)
