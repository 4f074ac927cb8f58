"""The outcomes of a run of the task actor, which `Worker.run` returns to its host."""

from dataclasses import dataclass
from typing import NamedTuple

from ..core.codes import TaskCode
from ..core.states import Status
from ..core.task import Failure
from ..store.records.claims import Unclaimed


class Ended(NamedTuple):
    """The run's task has ended with this terminal status."""

    status: Status


class Released(NamedTuple):
    """The run's task is pending again. Its host arranges another run of the task after this delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Another claim, a cancellation or an erasure ended the run's claim. The host has nothing to do."""


RunOutcome = Ended | Released | Lost | Unclaimed


class ClaimLost(Exception):
    """Raised when a write under a claim changed nothing, because the task's fence has risen or the task has ended."""


def crashed(stalls: int) -> Failure:
    """Return the failure of a task whose workers died `stalls` times in a row."""
    return Failure(TaskCode.WORKER_CRASHED, f"the worker ended {stalls} times in a row without finishing a chunk", True)
