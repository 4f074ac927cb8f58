"""The context of one run: its claim, and the objects that its parts share.

The worker makes the context once, with the claim.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ...core.calls.news import News
from ...core.calls.pace import Latency
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
    log: Log  # has the task, the route and the claim's fence in each line
    route: Route  # the route by which the task came to this host
    caller: ModelCaller  # makes the run's calls
    slack_seconds: float  # what the way to the caller may take, there and back, at most
    model: str  # the model that the calls go to
    terms: Terms  # the task's deadline and budget
    allowance: Allowance  # what the invocation may still spend
    latency: Latency  # the database's latency, as the isolate knows it
    storage: StorageUse  # how large the database is, as the isolate knows it
    news: News  # the model's state, as the isolate knows it
    asked_at: float  # when the claim was sent to the database
    granted_at: float  # when the claim's answer came
    start_seconds: float  # how long the calls that the claim announced may take to start
    hint: Hint | None  # given when the task may have ended; None: this host hears of nothing
    chance: Callable[[], float]  # numbers from 0 to 1
    wrote: Callable[[int], None]  # hears the step of each write that has landed
