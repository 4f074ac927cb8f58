"""Ablations of what keeps a stream of events whole over its cuts."""

from collections.abc import Iterator
from random import Random

from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from simulator.engine.fault_kinds import STREAM_CUT
from src.core import events as core
from src.http.tasks import events

CUTS = {STREAM_CUT: 0.4}


def _from_the_beginning(_request: object, _query: object) -> None:
    """Open each stream as the first one."""


def _end_at_once(
    place: core.EventPlace | None,
    state: core.State,
    ready: int,
    *,
    all_ready: bool,
) -> Iterator[core.TaskEvent]:
    """Tell the end with the first look that finds it."""
    return core.events(place, state, ready, all_ready=True)


def _followed(rng: Random) -> Workload:
    """Tasks of some chunks, each with two followers, and outputs in small segments."""
    deployment = rng.choice(DEPLOYMENTS)
    tasks = tuple(TaskSpec(rng.uniform(0, 5), rng.choice((3, 5, 6)), followed=2) for _ in range(3))
    return Workload(tasks, first=deployment, last=deployment, small_parts=True)


ABLATIONS = (
    Ablation(
        "behind_last_event",
        "a stream goes on behind the event that its client names",
        ((events, "_behind", _from_the_beginning),),
        CUTS,
        _followed,
    ),
    Ablation(
        "end_after_chunks",
        "a stream tells the end of a task once it has told all chunks",
        ((events, "events", _end_at_once),),
        CUTS,
        _followed,
    ),
)
