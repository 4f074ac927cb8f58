"""The context of one run: its claim, and the objects that its parts share.

The worker makes the context once, with the claim.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ...core.calls.news import News
from ...core.calls.pace import Latency
from ...core.calls.patience import Patience
from ...core.settings import Settings
from ...core.storage import StorageUse
from ...core.task import Route
from ...store.records.claims import Claim
from ...store.tasks import TaskStore
from ..allowance import Allowance
from ..caller import ModelCaller
from ..hint import Hint
from ..log import Log
from ..terms import Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The objects that all parts of a run share. Times are seconds on the run's clock."""

    claim: Claim  # each write of the run names it
    store: TaskStore
    settings: Settings
    log: Log  # The log adds the task, the route and the claim's fence to each line.
    route: Route  # The route by which the task came to this host.
    caller: ModelCaller  # The caller makes the run's calls.
    slack_seconds: float  # The most seconds that the way to the caller may take, there and back.
    model: str  # The model that the calls go to.
    terms: Terms  # The task's deadline and budget.
    allowance: Allowance  # The allowance that the invocation may still spend.
    latency: Latency  # The database's latency, as the isolate knows it.
    storage: StorageUse  # The size of the database, as the isolate knows it.
    news: News  # The model's state, as the isolate knows it.
    asked_at: float  # The time when the claim was sent to the database.
    granted_at: float  # The time when the claim's answer came.
    start_seconds: float  # How long the calls that the claim announced may take to start.
    hint: Hint | None  # The hint is given when the task may have ended; None: this host hears of nothing.
    chance: Callable[[], float]  # Returns random numbers from 0 to 1.
    wrote: Callable[[int], None]  # Hears the step of each write that has landed.


def patience_of(context: RunContext) -> Patience:
    """Return the run's patience with its model, which continues from what earlier runs of the task have seen."""
    claim = context.claim
    return Patience(
        context.news,
        context.settings.patience_seconds,
        now=context.granted_at,
        away_for=None if claim.away_ms is None else claim.away_ms / 1000,
        waits=claim.away_waits,
        failed_for=0.0 if claim.last_error is None else (claim.claimed_ms - claim.last_error.at) / 1000,
    )
