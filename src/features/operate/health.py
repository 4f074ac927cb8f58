"""The calls that show the deployment's state: its bindings, its database and its model."""

import asyncio
from typing import Annotated, Final, Literal, TypedDict, cast

from pydantic import Field

from ...kernel.api.access.access import caller_of
from ...kernel.api.base import fields, problems
from ...kernel.api.base.endpoint import Access, Answer, Endpoint, Parameter
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import DATABASE_DETAIL, DATABASE_ERROR, Refusal, store_refusal
from ...kernel.api.base.services import BoundRoutes
from ...kernel.api.base.views import Count, shown
from ...kernel.domain import limits
from ...kernel.domain.errors import StoreError
from . import operation
from .checks import DatabaseCheck
from .model import ModelStatusView, ModelView, read_model
from .operation import OutlookView


@shown
class QueueCheckView(TypedDict):
    """The bindings that the deployment has. The names of these fields are older than the camel case of other fields."""

    hasAIQueue: bool
    hasAIDLQ: bool
    hasDurableObjects: bool


@shown
class ServiceView(TypedDict):
    """How the deployment processes tasks.

    `status` is `degraded` if queue and objects are missing, and while the database has no space for new tasks.
    """

    status: Literal["healthy", "degraded"]
    service: str
    architecture: str
    queueCheck: QueueCheckView


@shown
class AllowanceView(TypedDict):
    """How much of a daily allowance of the free plan was used."""

    used: Annotated[int | float, Field(ge=0)]
    limit: Count


@shown
class DayUseView(TypedDict):
    """The use of each daily allowance since midnight UTC. `rows…` count rows of D1, `object…` Durable Objects."""

    day: Annotated[str, Field(json_schema_extra={"format": "date"})]
    requests: AllowanceView
    rowsRead: AllowanceView
    rowsWritten: AllowanceView
    queueOperations: AllowanceView
    objectRequests: AllowanceView
    objectRowsWritten: AllowanceView
    objectGbSeconds: AllowanceView


@shown
class VerboseServiceView(ServiceView):
    """The status with `?verbose=1`. `usage` is set under `make dev --limits …`, and null on a deployed Worker.

    A deployed Worker cannot know what its account has used. Cloudflare's dashboard shows it.
    """

    usage: DayUseView | None


@shown
class OperatorServiceView(VerboseServiceView, OutlookView):
    """The status with `?verbose=1` for operators: last times of the triggers, backlog, database size, code and schema.

    A time may be up to five minutes too old. A time is null if its trigger never fired.
    """


@shown
class UnhealthyServiceView(TypedDict):
    """The status of a deployment that cannot accept tasks. `detail` says which command to run."""

    status: Literal["unhealthy"]
    service: str
    architecture: str
    queueCheck: QueueCheckView
    detail: str


async def read_service(exchange: Exchange) -> Reply:
    """Show how tasks are processed, and whether D1 took them within a second; operators see more."""
    bound = exchange.api.bound
    name, parts = _architecture(bound)
    service, architecture = f"{name} Async Processing", f"Workers + D1{parts}"
    check = QueueCheckView(hasAIQueue=bound.queue, hasAIDLQ=bound.dead_letter_queue, hasDurableObjects=bound.objects)
    is_verbose = fields.is_verbose(exchange.query)
    try:
        await exchange.api.isolate.of(DatabaseCheck).read(exchange.api.store.ready)
        outlook = await operation.outlook(exchange.api) if is_verbose and await _is_operator(exchange) else None
    except StoreError as error:
        exchange.api.log("unhealthy", code=error.code)
        refusal = store_refusal(error, exchange.api.now_ms())
        unhealthy = UnhealthyServiceView(
            status="unhealthy",
            service=service,
            architecture=architecture,
            queueCheck=check,
            # If D1 refuses the check's statement, the detail is the same as if D1 did not answer.
            detail=DATABASE_DETAIL if refusal.kind is DATABASE_ERROR else refusal.detail,
        )
        return json_reply(503, unhealthy, refusal.headers)
    # The database reports its size with each answer, and the isolate keeps the latest of any request.
    most, now = exchange.api.settings.storage_bytes_most, asyncio.get_running_loop().time()
    has_room = not exchange.api.isolate.storage.refuses(most, now)
    status: Literal["healthy", "degraded"] = "healthy" if has_room and (bound.queue or bound.objects) else "degraded"
    view = ServiceView(status=status, service=service, architecture=architecture, queueCheck=check)
    if not is_verbose:
        return json_reply(200, view)
    verbose = VerboseServiceView(**view, usage=await _day_use(exchange))
    return json_reply(200, verbose if outlook is None else OperatorServiceView(**verbose, **outlook))


async def _is_operator(exchange: Exchange) -> bool:
    """Whether it has an operator's key; False without keys, or if none can be looked up. Others are refused."""
    api, request = exchange.api, exchange.request
    if api.settings.require_keys and "authorization" not in request.headers:
        return False
    try:
        await caller_of(request, api, Access.OPERATOR)
    except Refusal as refusal:
        if refusal.kind.status == 503:
            return False
        raise
    return True


async def _day_use(exchange: Exchange) -> DayUseView | None:
    """Return the day's use of the free plan's allowances, which only the local runtime counts."""
    meter = exchange.api.day_use
    if meter is None:
        return None
    found = await meter.read()
    exchange.api.log("day_use", **found)
    used = {name: round(cast("float", found[name]), 1) for name in limits.FREE_PLAN_DAY}
    allowances = {name: AllowanceView(used=used[name], limit=most) for name, most in limits.FREE_PLAN_DAY.items()}
    return cast("DayUseView", {"day": found["day"], **allowances})


def _architecture(bound: BoundRoutes) -> tuple[str, str]:
    if bound.queue:
        return "Cloudflare Queues", " + Queues"
    if bound.objects:
        return "Cloudflare Durable Objects", " + Durable Objects"
    return "Direct", ""


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/async-status",
        summary="Read how this deployment processes tasks, and whether its database could take them a second ago",
        handler=read_service,
        access=Access.PUBLIC,
        parameters=(
            Parameter(
                "verbose",
                "1 also shows the day's use of the free plan. Operators also see when sweep, queue and alarms last "
                "ran, the backlog, version and schema. A key is optional, and only checked with 1.",
                {"type": "string", "enum": ["0", "1"]},
            ),
        ),
        answers=(
            Answer(
                200,
                "The database answers; `verbose=1` shows more",
                (ServiceView, VerboseServiceView, OperatorServiceView),
            ),
            Answer(503, "The database cannot take tasks", (UnhealthyServiceView,), ("Retry-After",)),
        ),
        problems=(problems.UNAUTHENTICATED, problems.FORBIDDEN),
    ),
    Endpoint(
        method="GET",
        path="/api/ai-status",
        summary="Read whether model calls work; with the scope `read` also why not, and operators for all tenants",
        handler=read_model,
        access=Access.PUBLIC,
        answers=(Answer(200, "The model's state, good or bad", (ModelStatusView, ModelView)),),
    ),
)
