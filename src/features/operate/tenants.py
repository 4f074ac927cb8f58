"""`GET /api/tenants`: a summary of a tenant's latest tasks and their costs, for its own keys and for operators."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, TypedDict

from ...kernel.api.base import fields
from ...kernel.api.base.endpoint import HOURS, Answer, Endpoint, Parameter
from ...kernel.api.base.exchange import EVERYONE, Exchange, Reach
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.views import CostView, Count, FailedTasksView, amount_view, shown
from ...kernel.api.tasks import across
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.ids import TENANT_TASKS_MOST
from ...kernel.domain.keys import Scope
from ...kernel.domain.task import Status
from ...kernel.store.tenants import EndedTasks, TenantStore


@shown
class TenantView(TypedDict):
    """The tasks of a tenant that were created in the last `hours` and are still kept.

    The view counts the newest 500 tasks: by status, failures by code (most frequent first), and their calls, tokens and
    cost, which is null if none of their models had a price. `more` says that there may be more tasks.
    """

    tenant: str
    tasks: Count
    more: bool
    pending: Count
    processing: Count
    completed: Count
    failed: Count
    cancelled: Count
    failures: list[FailedTasksView]
    modelCalls: Count
    inDoubt: Count
    inputTokens: Count
    outputTokens: Count
    cost: CostView | None


@shown
class TenantListView(TypedDict):
    """Tenants that have tasks, in the order of their names. `nextCursor` is null on the last page."""

    hours: Count
    tenants: list[TenantView]
    nextCursor: str | None


async def read_tenants(exchange: Exchange) -> Reply:
    """Add up the latest tasks of one tenant, or with `tenant=*` the latest tasks of each tenant of the next page."""
    hours, acting = fields.hours(exchange.query), exchange.acting
    if acting.whose == EVERYONE:
        found = await across.visit(exchange)
        names, behind = [acting.enter(name) for name in found.tenants], found.behind
    else:
        across.refuse_cursor(exchange)
        names, behind = [acting.tenant], None
    figures = await exchange.api.store.beside(TenantStore).figures(names, hours) if names else []
    shown = [_view(name, ended) for name, ended in zip(names, figures, strict=True)]
    return json_reply(200, TenantListView(hours=hours, tenants=shown, nextCursor=across.cursor(behind)))


def _view(tenant: str, ended: Sequence[EndedTasks]) -> TenantView:
    by_status: Counter[Status] = Counter()
    failures: Counter[str] = Counter()
    for one in ended:
        by_status[one.status] += one.tasks
        if one.code is not None:
            failures[one.code] += one.tasks
    tasks = by_status.total()
    costs = [one.cost for one in ended if one.cost is not None]
    in_doubt = sum(one.cost_in_doubt for one in ended)
    return TenantView(
        tenant=tenant,
        tasks=tasks,
        more=tasks >= TENANT_TASKS_MOST,
        pending=by_status[Status.PENDING],
        processing=by_status[Status.PROCESSING],
        completed=by_status[Status.COMPLETED],
        failed=by_status[Status.FAILED],
        cancelled=by_status[Status.CANCELLED],
        failures=[FailedTasksView(code=TaskCode(code), tasks=count) for code, count in failures.most_common()],
        modelCalls=sum(one.calls for one in ended),
        inDoubt=sum(one.in_doubt for one in ended),
        inputTokens=sum(one.input_tokens for one in ended),
        outputTokens=sum(one.output_tokens for one in ended),
        cost=amount_view(sum(costs), in_doubt) if costs or in_doubt else None,
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/tenants",
        summary="Read a summary of a tenant's latest tasks: failures by code, calls, tokens and cost",
        handler=read_tenants,
        access=Scope.READ,
        reach=Reach.EACH,
        parameters=(
            HOURS,
            Parameter(
                "cursor",
                "With `tenant=*`: the `nextCursor` of the previous page.",
                {"type": "string", "pattern": f"^{across.CURSOR_PATTERN}$"},
            ),
        ),
        answers=(Answer(200, "The tenants", (TenantListView,)),),
    ),
)
