"""The ways in which a run of the task actor ends, as its host sees them."""

from dataclasses import dataclass
from typing import NamedTuple

from ..core.codes import TaskCode
from ..core.states import Status
from ..core.task import Failure
from ..store.records.claims import Unclaimed


class Ended(NamedTuple):
    """The task has reached this terminal status."""

    status: Status


class Released(NamedTuple):
    """The task is pending again. Its host arranges another run after this delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """Another claim, a cancellation or an erasure ended the run's claim; no work is left."""


RunOutcome = Ended | Released | Lost | Unclaimed


class ClaimLost(Exception):
    """A write under the claim changed nothing: the fence has risen, or the task has ended."""


def crashed(stalls: int) -> Failure:
    """Say why a task failed whose workers kept dying."""
    return Failure(TaskCode.WORKER_CRASHED, f"the worker ended {stalls} times in a row without finishing a chunk", True)
