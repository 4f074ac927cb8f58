"""The context of one run: its claim, the objects that all parts of the run share, and its outcomes.

The worker makes the context when the claim is granted. `Worker.run` returns the outcome to its host. The host may
notify its run that the task may have changed, so that the run need not poll the database.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..calls.caller import ModelCaller
from ..calls.model_health import ModelHealth, Patience
from ..domain.codes import TaskCode
from ..domain.settings import Settings
from ..domain.task import Failure, Route, Status
from ..store.claims import Claim, Unclaimed
from ..store.tasks import TaskStore
from .allowance import Allowance
from .invocation import Invocation
from .kinds import CallGate, InputForm, OutputRule, TaskKind
from .log import Log
from .waits import Terms


class Hint:
    """A host's notice to its run: the task has ended under a claim, or the task may have changed."""

    def __init__(self) -> None:
        self._given: int | None = None
        self._waiting: asyncio.Future[None] | None = None

    def give(self, ended_fence: int = -1) -> None:
        """Give the notice, which wakes the run. With `ended_fence`, all claims up to it have ended."""
        self._given = max(ended_fence, -1 if self._given is None else self._given)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def take(self) -> int | None:
        """Return the fence of the notice since the last `take`: -1 for a notice without one, None without a notice."""
        given, self._given = self._given, None
        return given

    def awaited(self) -> asyncio.Future[None]:
        """Return a future that is done when a notice arrives, or at once if a notice was not taken yet."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._given is not None:
            self._waiting.set_result(None)
        return self._waiting


class Ended(NamedTuple):
    """The outcome of a run whose task has ended, with the task's terminal status."""

    status: Status


class Released(NamedTuple):
    """The outcome of a run whose task is pending again. The host arranges another run of the task after the delay."""

    delay_seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """The outcome if another claim, a cancellation or an erasure ended the claim.

    It is also the outcome if the task waits so long that its host leaves it to the sweep.
    """


RunOutcome = Ended | Released | Lost | Unclaimed


class ClaimLost(Exception):
    """Raised when a write under a claim changed nothing, because the task's fence has risen or the task has ended."""


def crashed(stalls: int) -> Failure:
    """Return the failure of a task whose workers died `stalls` times in a row."""
    return Failure(TaskCode.WORKER_CRASHED, f"the worker ended {stalls} times in a row without finishing a chunk", True)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The objects that all parts of a run share. Times are seconds by the run's clock."""

    claim: Claim  # the run's claim of the task; each write of the run names this claim
    store: TaskStore
    settings: Settings
    log: Log  # The log of the run; it adds the task, the route and the claim's fence to each line.
    route: Route  # The route by which the task reached the run's host.
    caller: ModelCaller  # The `ModelCaller` that makes the run's model calls.
    slack_seconds: float  # The most seconds that a group of calls may travel to a lane, and its answer back.
    model: str  # The model to which the run's calls are sent.
    default_model: str  # The deployment's model, which is used for tasks that name no model.
    kind: TaskKind  # What the task's chunks are.
    rules: Sequence[OutputRule]  # What the task's outputs must be; each rule judges what the one before accepts.
    prompt: InputForm | None  # What the messages of chunks are; None if they are the chunks alone.
    gate: CallGate | None = None  # What the run's calls cost; None if they have no price.
    terms: Terms  # The task's deadline and budget.
    allowance: Allowance  # What the run and its invocation may spend.
    health: ModelHealth  # What the isolate knows about whether each model answers.
    asked_at: float  # When the request for the claim was sent to the database.
    granted_at: float  # When the database's answer to the claim came.
    start_seconds: float  # Within how many seconds the calls that the claim announced must start.
    hint: Hint | None  # The notice that the host gives when the task may have ended. None if the host gives no notices.
    wrote: Callable[[int], None]  # A function to call with the step of each write that has taken effect.
    invocation: Invocation  # It has the memory of the isolate, and random numbers.


def patience_of(context: RunContext) -> Patience:
    """Return the run's patience with its model, which starts from the failures that earlier runs have stored."""
    claim = context.claim
    return Patience(
        context.health,
        context.settings.patience_seconds,
        now=context.granted_at,
        away_for=None if claim.away_ms is None else claim.away_ms / 1000,
        waits=claim.away_waits,
        resumed=claim.resumed,
        failed_for=0.0 if claim.last_error is None else (claim.claimed_ms - claim.last_error.at) / 1000,
    )
