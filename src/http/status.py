"""The handlers that tell how the deployment is: its bindings and database, and its model."""

from typing import Literal

from ..core.errors import SchemaMissing, StoreError
from .calls import Call, json_reply
from .ports import Bound, Reply
from .problems import DATABASE_DETAIL, SCHEMA_DETAIL, store_refusal
from .schemas import ModelView, QueueCheckView, ServiceView, UnhealthyServiceView
from .views import rfc3339


async def read_service(call: Call) -> Reply:
    """Show how tasks are processed here, and whether D1 can take them."""
    bound = call.api.bound
    name, parts = _architecture(bound)
    service, architecture = f"{name} Async Processing", f"Workers + D1{parts}"
    check = QueueCheckView(hasAIQueue=bound.queue, hasAIDLQ=bound.dead_letter_queue, hasDurableObjects=bound.objects)
    try:
        await call.api.store.ready()
    except StoreError as error:
        call.api.log("unhealthy", code=error.code)
        unhealthy = UnhealthyServiceView(
            status="unhealthy",
            service=service,
            architecture=architecture,
            queueCheck=check,
            detail=SCHEMA_DETAIL if isinstance(error, SchemaMissing) else DATABASE_DETAIL,
        )
        return json_reply(503, unhealthy, store_refusal(error).headers)
    status: Literal["healthy", "degraded"] = "healthy" if bound.queue or bound.objects else "degraded"
    view = ServiceView(status=status, service=service, architecture=architecture, queueCheck=check)
    return json_reply(200, view)


async def read_model(call: Call) -> Reply:
    """Show whether model calls would work; nobody pays for finding out."""
    api = call.api
    health = await api.provider.probe()
    view = ModelView(
        status=health.status,
        provider=api.provider.name,
        model=api.settings.model or api.provider.default_model,
        checkedAt=rfc3339(api.now_ms()),
        detail=health.detail,
    )
    return json_reply(200, view)


def _architecture(bound: Bound) -> tuple[str, str]:
    if bound.queue:
        return "Cloudflare Queues", " + Queues"
    if bound.objects:
        return "Cloudflare Durable Objects", " + Durable Objects"
    return "Direct", ""
