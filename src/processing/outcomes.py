"""The outcomes of a run of the task actor, which `Worker.run` returns to its host."""

from dataclasses import dataclass
from typing import NamedTuple

from ..core.codes import TaskCode
from ..core.states import Status
from ..core.task import Failure
from ..store.records.claims import Unclaimed


class Ended(NamedTuple):
    """The outcome of a run whose task has ended, with the task's terminal status."""

    status: Status


class Released(NamedTuple):
    """The outcome of a run whose task is pending again. The host arranges another run of the task after the delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The outcome of a run whose claim was ended by another claim, by a cancellation or by an erasure."""


RunOutcome = Ended | Released | Lost | Unclaimed


class ClaimLost(Exception):
    """Raised when a write under a claim changed nothing, because the task's fence has risen or the task has ended."""


def crashed(stalls: int) -> Failure:
    """Return the failure of a task whose workers died `stalls` times in a row."""
    return Failure(TaskCode.WORKER_CRASHED, f"the worker ended {stalls} times in a row without finishing a chunk", True)
