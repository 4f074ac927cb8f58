"""What a feature gives to the kernel, which knows no feature by name."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .api.base.endpoint import Endpoint
    from .api.base.exchange import Exchange
    from .api.base.messages import Reply
    from .api.base.services import Api
    from .api.base.views import PlannedCostView
    from .domain.settings import Settings
    from .domain.task import Kind, Task
    from .run.invocation import Invocation
    from .run.kinds import GateMaker, PromptMaker, RuleMaker, TaskKind
    from .store.hooks import EndHook
    from .store.rows import JoinerOf
    from .work.submission import Planned, TaskRequest
    from .work.sweep.duty import Duty

type Calls = Sequence[Endpoint]
type MakeDuty = Callable[[Invocation], Duty]
type MakeEndHook = Callable[[Invocation], EndHook]


class PathGroup(NamedTuple):
    """Paths (`{}`: any segment) of one module's calls, which a function imports; described in order of `rank`."""

    rank: int
    paths: tuple[str, ...]
    load: Callable[[], Calls]


class KindApi:
    """What a feature adds to the calls of `/api/tasks`, by default nothing. The first that gives something decides."""

    async def plan(self, _request: "TaskRequest", _api: "Api", _repeated: str) -> "Planned | None":
        """Plan a dry run, None for other kinds. `repeated` is in each call. Raises the task's Refusals."""
        return None

    def plan_cost(
        self, _request: "TaskRequest", _api: "Api", _planned: "Planned", _calls: int
    ) -> "PlannedCostView | None":
        """Return what a dry run says of the costs of a plan with so many calls, None without a price."""
        return None

    async def check(self, _request: "TaskRequest", _api: "Api") -> None:
        """Raise the Refusal of a submission that the feature does not accept."""

    async def retry(
        self, _exchange: "Exchange", _task: "Task", _max_calls: int | None, _max_cost: int | None
    ) -> "Reply | None":
        """Retry what the kernel cannot, None if nothing was done. Raises Refusal if it cannot be retried."""
        return None

    async def shown(self, _exchange: "Exchange") -> Mapping[str, object]:
        """Return members for a list of chunks that is empty because the outputs are elsewhere."""
        return {}


class Feature(NamedTuple):
    """Something that a deployment can lack. Its functions import late, so that an isolate's start stays small.

    `kind` is a value of `tasks.kind`, with what gives the kind. The `rule` of a feature judges outputs after those of
    the features before it. The first `prompt` that a feature makes writes the messages of chunks. `gate` makes what
    counts the cost of a claim's calls, and `first_most` says what a new task's first call can cost; one feature has
    them. `duty` loads what makes a duty of the sweep, and `ends` what makes a hook for each invocation. `joiner_of`
    makes what joins the outputs of a task with a schema.

    `at_start` imports what the snapshot of the interpreter should have (docs/decisions/python.md#d0033).
    """

    name: str
    groups: tuple[PathGroup, ...] = ()
    kind: "tuple[Kind, Callable[[], TaskKind]] | None" = None
    rule: "RuleMaker | None" = None
    prompt: "PromptMaker | None" = None
    gate: "GateMaker | None" = None
    first_most: "Callable[[Settings, str, TaskRequest, str], int] | None" = None
    api: Callable[[], KindApi] | None = None
    duty: Callable[[], MakeDuty] | None = None
    ends: Callable[[], MakeEndHook] | None = None
    joiner_of: "JoinerOf | None" = None
    at_start: Callable[[], object] | None = None
