"""Ablations of the safeguards that slow workers down when the database is slow."""

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.circumstances import CROWDED, STUBBORN, waiting_long
from simulator.campaign.ablations.definition import Ablation
from src.kernel.calls.pace import WriteBucket
from src.kernel.run import run

SHARED = {"d1_shared": 0.01}

ABLATIONS = (
    Ablation(
        "growing_idle_delay",
        "a task on which nothing could start is left alone, each time for longer",
        ((run, "idle_seconds", without.no_delay),),
        SHARED,
        waiting_long,
        CROWDED,
    ),
    Ablation(
        "write_bound",
        "a worker writes no more than its calls and the time allow",
        ((WriteBucket, "ready_at", without.at_once),),
        SHARED,
        waiting_long,
        (*CROWDED, *STUBBORN),
    ),
)
