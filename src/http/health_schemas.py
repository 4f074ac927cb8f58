"""The data of the status endpoints; see `schemas` for the rules."""

from typing import Annotated, Literal, TypedDict

from pydantic import Field

from .schemas import Count, Time, shown


@shown
class QueueCheckView(TypedDict):
    """Which bindings the deployment has. The names are older than the camel case of the rest."""

    hasAIQueue: bool
    hasAIDLQ: bool
    hasDurableObjects: bool


@shown
class ServiceView(TypedDict):
    """How the deployment processes tasks; `degraded` without queue and objects."""

    status: Literal["healthy", "degraded"]
    service: str
    architecture: str
    queueCheck: QueueCheckView


@shown
class AllowanceView(TypedDict):
    """What was used of a daily allowance of the free plan."""

    used: Annotated[int | float, Field(ge=0)]
    limit: Count


@shown
class DayUseView(TypedDict):
    """What was used since midnight UTC. `rows` are those of D1; objects are Durable Objects."""

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
    """With `?verbose=1`. `usage` is there under `make dev --limits …`; null on a deployed Worker, which cannot know
    what its account has used: Cloudflare shows that in the dashboard.
    """

    usage: DayUseView | None


@shown
class UnhealthyServiceView(TypedDict):
    """The deployment cannot accept tasks; `detail` says what to run."""

    status: Literal["unhealthy"]
    service: str
    architecture: str
    queueCheck: QueueCheckView
    detail: str


@shown
class ModelView(TypedDict):
    """Whether model calls would work."""

    status: Literal["healthy", "degraded", "unavailable"]
    provider: str
    model: str
    checkedAt: Time
    detail: str
