"""The calls about the deployment: how it is, and a sweep at once. They are imported upon the first request for one."""

from typing import Final

from . import health, operation, problems
from .endpoint import Access, Answer, Endpoint, Parameter

SWEEP: Final = (
    Endpoint(
        method="POST",
        path="/api/sweep",
        name="sweep",
        summary="Run a sweep now, and wait for it: send off what stands still, or work on it; at most one in 30 s",
        handler=operation.sweep,
        access=Access.OPERATOR,
        answers=(Answer(200, "What the sweep did", (operation.SweptView,)),),
        problems=(problems.TOO_SOON, *problems.DATABASE_KINDS),
    ),
)

HEALTH: Final = (
    Endpoint(
        method="GET",
        path="/api/async-status",
        name="readService",
        summary="Read how tasks are processed here, and whether the database could take them a second ago",
        handler=health.read_service,
        access=Access.PUBLIC,
        parameters=(
            Parameter(
                "verbose",
                "1 shows the day's use of the free plan, too, and to operators when sweep, queue and alarms were last "
                "seen, the backlog, and version and schema. A key is looked at only then, if one is sent.",
                {"type": "string", "enum": ["0", "1"]},
            ),
        ),
        answers=(
            Answer(
                200,
                "The database answers; with `verbose=1` more",
                (health.ServiceView, health.VerboseServiceView, health.OperatorServiceView),
            ),
            Answer(503, "The database cannot take tasks", (health.UnhealthyServiceView,), ("Retry-After",)),
        ),
        problems=(problems.UNAUTHENTICATED, problems.FORBIDDEN),
    ),
    Endpoint(
        method="GET",
        path="/api/ai-status",
        name="readModel",
        summary="Read whether model calls would work, without making one",
        handler=health.read_model,
        access=Access.PUBLIC,
        answers=(Answer(200, "The model's state, be it good or bad", (health.ModelView,)),),
        problems=(),
    ),
)
