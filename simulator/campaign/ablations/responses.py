"""Ablations of promises to clients of `/v1`: one task per request, each event once, a mark on cut-off texts."""

from dataclasses import replace
from random import Random

from simulator.campaign.ablations import substitutes as without
from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.shares import hooked
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from simulator.engine.fault_kinds import STREAM_CUT
from src.features.openai import stream


def _from_the_beginning(_query: object) -> int:
    """Open each stream from the first event, even when a client resumes it."""
    return 0


def _responses(rng: Random) -> Workload:
    """Draw responses of 1, 3 or 5 chunks, each with a client that follows its events."""
    deployment = rng.choice(DEPLOYMENTS)
    spec = TaskSpec(0, 1, response=True, followed=1)
    tasks = tuple(replace(spec, at=rng.uniform(0, 5), chunks=rng.choice((1, 3, 5))) for _ in range(4))
    return Workload(tasks, first=deployment, last=deployment)


def _cut_off(rng: Random) -> Workload:
    """Draw responses of tenants with webhook endpoints; the model cuts off one output of each response."""
    workload = _responses(rng)
    return hooked(replace(workload, tasks=tuple(replace(spec, cut_off=True) for spec in workload.tasks)))


ABLATIONS = (
    Ablation(
        "behind_starting_after",
        "a response's stream goes on behind the event that its client names",
        ((stream, "first_number", _from_the_beginning),),
        {STREAM_CUT: 0.4},
        _responses,
    ),
    Ablation(
        "repetition_joins",
        "what an SDK sends again is the task of the sending before",
        (without.swapped("FOLLOW", "digest ->> :path IS NULL AND (", "0 AND ("),),
        {"client_reply_lost": 0.3},
        _responses,
    ),
    Ablation(
        "late_sending_is_void",
        "a sending that lands behind the one after it makes no task of its own",
        (without.swapped("FOLLOW", "OR id > :submission", "OR id < :submission AND 0"),),
        {"crash_after": 0.1, "d1_slow": 0.5},
        _responses,
    ),
    Ablation(
        "incomplete_is_told",
        "endpoints hear that a response is incomplete where an output was cut off",
        (without.swapped("OUTBOX", "truncated + failed > 0 THEN", "truncated + failed < 0 THEN"),),
        {},
        _cut_off,
    ),
)
