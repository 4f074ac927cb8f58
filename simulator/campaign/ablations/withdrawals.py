"""Ablations of the promises after a client cancels or erases a task: no further call, and no row left."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import (
    FREEZES,
    SHORT_FREEZES,
    cancelling,
    cancelling_late,
    erasing,
    some_tasks,
)
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS, LONG_CHUNKS
from simulator.platform.choices import FREE, TOP
from src.kernel.calls import caller
from src.kernel.store import ending, tasks
from src.objects import ai_processor

ABLATIONS = (
    Ablation(
        "cancel_stops_calls",
        "no call is announced for a cancelled task",
        (without.swapped("PROGRESS", "status = 'processing'", "status IN ('processing', 'cancelled')"),),
        {},
        cancelling,
    ),
    Ablation(
        "erase_everything",
        "an erased task leaves nothing behind",
        ((ending, "ERASE", tuple(one for one in ending.ERASE if "FROM segments" not in one.text)),),
        {},
        erasing,
    ),
    Ablation(
        "object_forgets",
        "an object that is done stores nothing",
        ((ai_processor.Processor, "_forget", without.remember),),
        {},
        some_tasks(FREE),
    ),
    Ablation(
        "start_window",
        "calls start soon after their announcement or not at all",
        ((caller.LocalCaller, "call", without.call_whenever),),
        {"worker_frozen": 0.1},
        cancelling_late(*DEPLOYMENTS, chunks=6),
    ),
    Ablation(
        "start_window_of_lanes",
        "a lane asks whether the calls that it was sent may still start",
        ((tasks.TaskStore, "may_start", without.start_whenever),),
        {"worker_frozen": 0.1},
        cancelling_late(FREE, chunks=LONG_CHUNKS, concurrency=3),  # with 1 there are no lanes
    ),
    Ablation(
        "start_window_of_lanes_of_queue",
        "a lane asks whether the calls that a consumer of the queue sent it may still start",
        ((tasks.TaskStore, "may_start", without.start_whenever),),
        {"worker_frozen": 0.1},
        cancelling_late(TOP, chunks=LONG_CHUNKS, concurrency=3),
    ),
    Ablation(
        "held_cancellation_of_lanes",
        "a cancellation is held for a lane that may have been asked, whenever calls were announced",
        (without.swapped("START_WINDOW", "total >= :lanes_from_chunks", "total < -:lanes_from_chunks"),),
        {"worker_frozen": 0.2},
        cancelling_late(TOP, FREE, chunks=LONG_CHUNKS, concurrency=3),
        SHORT_FREEZES,
    ),
    Ablation(
        "held_cancellation_of_lanes_of_queue",
        "a cancellation is held for a lane of a consumer of the queue",
        (without.swapped("START_WINDOW", "(route <> 'direct' OR fence > 1)", "route = 'durable-object'"),),
        {"worker_frozen": 0.2},
        cancelling_late(TOP, chunks=LONG_CHUNKS, concurrency=3),
        SHORT_FREEZES,
    ),
    Ablation(
        "held_cancellation",
        "a cancellation is answered when no call can start any more",
        ((tasks.TaskStore, "cancel", without.cancel_at_once),),
        {"worker_frozen": 0.2},
        cancelling_late(*DEPLOYMENTS, chunks=6),
        SHORT_FREEZES,
    ),
    Ablation(
        "stored_start_window",
        "a cancellation waits as long as the calls were given when they were announced",
        (without.swapped("START_WINDOW", "start_ms", "2000"),),
        {"worker_frozen": 0.2, "d1_slow": 0.3},
        cancelling_late(*DEPLOYMENTS, chunks=6),
        FREEZES,
    ),
    Ablation(
        "held_erasure",
        "an erasure is answered when no call can start any more",
        ((tasks.TaskStore, "erase", without.erase_at_once),),
        {"worker_frozen": 0.2},
        erasing,
        SHORT_FREEZES,
    ),
)
