"""The context of one run: its claim, and the objects that all parts of the run share.

The worker makes the context of a run once, when the claim is granted.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...core.calls.news import News
from ...core.calls.patience import Patience
from ...core.settings import Settings
from ...core.task import Route
from ...store.records.claims import Claim
from ...store.tasks import TaskStore
from ..allowance import Allowance
from ..caller import ModelCaller
from ..hint import Hint
from ..invocation import Invocation
from ..log import Log
from ..terms import Terms
from .kinds import OutputRule, TaskKind


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
    terms: Terms  # The task's deadline and budget.
    allowance: Allowance  # What the run and its invocation may spend.
    news: News  # What the isolate knows about whether each model answers.
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
        context.news,
        context.settings.patience_seconds,
        now=context.granted_at,
        away_for=None if claim.away_ms is None else claim.away_ms / 1000,
        waits=claim.away_waits,
        failed_for=0.0 if claim.last_error is None else (claim.claimed_ms - claim.last_error.at) / 1000,
    )
