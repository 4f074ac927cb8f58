"""The handlers that tell how the deployment is: its bindings and database, and its model."""

from typing import Literal

from ..core import limits
from ..core.errors import SchemaMissing, StoreError, StoreQuotaExhausted
from . import queries
from .exchange import Exchange, json_reply
from .health_schemas import (
    AllowanceView,
    DayUseView,
    ModelView,
    QueueCheckView,
    ServiceView,
    UnhealthyServiceView,
    VerboseServiceView,
)
from .ports import BoundRoutes, Reply
from .problems import DATABASE_DETAIL, QUOTA_DETAIL, SCHEMA_DETAIL, store_refusal
from .views import rfc3339


async def read_service(exchange: Exchange) -> Reply:
    """Show how tasks are processed here, and whether D1 can take them."""
    bound = exchange.api.bound
    name, parts = _architecture(bound)
    service, architecture = f"{name} Async Processing", f"Workers + D1{parts}"
    check = QueueCheckView(hasAIQueue=bound.queue, hasAIDLQ=bound.dead_letter_queue, hasDurableObjects=bound.objects)
    try:
        await exchange.api.store.ready()
    except StoreError as error:
        exchange.api.log("unhealthy", code=error.code)
        unhealthy = UnhealthyServiceView(
            status="unhealthy",
            service=service,
            architecture=architecture,
            queueCheck=check,
            detail=_trouble(error),
        )
        return json_reply(503, unhealthy, store_refusal(error, exchange.api.now_ms()).headers)
    status: Literal["healthy", "degraded"] = "healthy" if bound.queue or bound.objects else "degraded"
    view = ServiceView(status=status, service=service, architecture=architecture, queueCheck=check)
    if not queries.is_verbose(exchange.query):
        return json_reply(200, view)
    return json_reply(200, VerboseServiceView(**view, usage=await _day_use(exchange)))


async def _day_use(exchange: Exchange) -> DayUseView | None:
    """Say what was used today of what the free plan allows a day. Only the local runtime knows: Cloudflare tells an
    account's use to its owner, in the dashboard and its analytics, and not to its Workers."""
    meter = exchange.api.day_use
    if meter is None:
        return None
    found = await meter.read()

    def allowance(name: str) -> AllowanceView:
        used = found[name]
        assert isinstance(used, int | float)
        return AllowanceView(used=round(used, 1), limit=limits.FREE_PLAN_DAY[name])

    exchange.api.log("day_use", **found)
    return DayUseView(
        day=str(found["day"]),
        requests=allowance("requests"),
        rowsRead=allowance("rowsRead"),
        rowsWritten=allowance("rowsWritten"),
        queueOperations=allowance("queueOperations"),
        objectRequests=allowance("objectRequests"),
        objectRowsWritten=allowance("objectRowsWritten"),
        objectGbSeconds=allowance("objectGbSeconds"),
    )


async def read_model(exchange: Exchange) -> Reply:
    """Show whether model calls would work, as of a few seconds ago; nobody pays for finding out."""
    api = exchange.api
    checked = await api.isolate.model.read(api.provider, api.now_ms)
    view = ModelView(
        status=checked.health.status,
        provider=api.provider.name,
        model=api.settings.model or api.provider.default_model,
        checkedAt=rfc3339(checked.at_ms),
        detail=checked.health.detail,
    )
    return json_reply(200, view)


def _trouble(error: StoreError) -> str:
    match error:
        case SchemaMissing():
            return SCHEMA_DETAIL
        case StoreQuotaExhausted():
            return QUOTA_DETAIL
        case _:
            return DATABASE_DETAIL


def _architecture(bound: BoundRoutes) -> tuple[str, str]:
    if bound.queue:
        return "Cloudflare Queues", " + Queues"
    if bound.objects:
        return "Cloudflare Durable Objects", " + Durable Objects"
    return "Direct", ""
