"""Ablations of the safeguards that keep bills and outputs right when workers crash and writes are repeated."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import (
    CRASHES,
    LOST_REPLIES,
    cancelling_late,
    hurried,
    merging,
    refused,
    some_tasks,
)
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS
from simulator.platform.choices import FREE, TOP
from src.kernel.run import call_groups, ledger
from src.kernel.store import segments, tasks
from src.kernel.store.fragments import UNDER_CLAIM

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
                "calls_in_doubt + CASE WHEN (status <> 'processing' OR holder IS NOT :holder) "
                "THEN json_array_length(in_flight) ELSE 0 END",
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
        "piece_once",
        "outputs that are sent again are in their segment already",
        (without.swapped("RECORD_OUTPUTS", without.LATER_PIECE, without.NO_PIECE),),
        LOST_REPLIES,
    ),
    Ablation(
        "segments_in_claim",
        "a worker knows which outputs lie in segments, and makes no such call again",
        (
            without.swapped(
                "CLAIM_OUTPUTS",
                "places FROM segments WHERE task_id = :task_key",
                "places FROM segments WHERE task_id = :task_key AND 0",
            ),
        ),
        CRASHES,
        some_tasks(*DEPLOYMENTS),
    ),
    Ablation(
        "merge_plan_once",
        "the plan of a merge's level that is sent again is there already",
        (without.swapped("RECORD_MERGE", "ON CONFLICT DO NOTHING", ""),),
        LOST_REPLIES,
        merging,
    ),
    Ablation(
        "pieces_by_try",
        "outputs that a write told before stay apart from those that its next try adds",
        ((segments, "pieces", without.pieces_of_one_try),),
        {"d1_slow": 0.3},
        cancelling_late(*DEPLOYMENTS, chunks=8, concurrency=3),
    ),
    Ablation(
        "input_of_completed",
        "only a task that is completed loses its input",
        (
            without.swapped(
                "EMPTY_INPUT", f"{UNDER_CLAIM} AND status = 'completed'", ":fence = :fence AND :holder = :holder"
            ),
        ),
        workload=hurried,
    ),
    Ablation(
        "custody_of_ended_calls",
        "outputs that came while a write was awaited are booked before calls are dropped",
        ((call_groups.CallGroups, "drop", without.drop_unseen),),
        {"d1_slow": 0.3},
        cancelling_late(*DEPLOYMENTS, chunks=8, concurrency=3),
    ),
    Ablation(
        "custody_of_lanes",
        "what lanes have begun is waited for when its task has ended",
        ((call_groups.CallGroups, "remaining", without.drop_lanes),),
        {},
        cancelling_late(TOP, FREE, chunks=18, concurrency=3),
    ),
    Ablation("absolute_totals", "totals are written as totals", without.incremental(), LOST_REPLIES),
)
