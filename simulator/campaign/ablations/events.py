"""Ablations of the safeguards that keep a client's events complete when its stream is cut off."""

from collections.abc import Container, Iterator
from random import Random

from simulator.campaign.ablations.definition import Ablation
from simulator.campaign.clients.workload import DEPLOYMENTS, TaskSpec, Workload
from simulator.engine.fault_kinds import STREAM_CUT
from src.kernel.api.tasks import events
from src.kernel.domain import events as core

CUTS = {STREAM_CUT: 0.4}


def _from_the_beginning(_request: object, _query: object) -> None:
    """Open each stream from the first event, even when a client resumes it."""


def _end_at_once(
    mark: core.EventMark | None,
    state: core.State,
    ready: int,
    *,
    all_ready: bool,
    gaps: Container[int] = (),
) -> Iterator[core.TaskEvent]:
    """Send the end of a stream at the first check that finds its task ended."""
    return core.events(mark, state, ready, all_ready=True, gaps=gaps)


def _followed(rng: Random) -> Workload:
    """Draw tasks of 3, 5 or 6 chunks, each with two clients that follow its events, and outputs in small segments."""
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
