"""The API as a table: each call with its handler and every answer that it can give.

The router takes paths and handlers from it, `openapi` all of it; tests hold the handlers to it.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Final

from ..core import limits
from ..core.keys import ID_PATTERN, Scope
from ..core.states import Status
from . import bulk, deliveries, events, health, keys, observation, openapi, operation, problems, queries, tasks
from .dry_run import PlanView
from .endpoint import IDEMPOTENCY_KEY, Access, Answer, Endpoint, Parameter
from .exchange import Exchange
from .messages import Reply
from .new_task import NewTaskFields
from .retries import RetryFields
from .task_views import ChunkListView, TaskListView, TaskWithChunksView, WholeTaskView

_ONE_TASK = (problems.NOT_FOUND, *problems.DATABASE_KINDS)
_OF_TASK = tuple(
    (name, "id", "/id") for name in ("readTask", "readChunks", "followTask", "cancelTask", "retryTask", "eraseTask")
)
_WAIT = {"type": "number", "minimum": 0, "maximum": limits.WAIT_SECONDS_MOST, "default": 0}
_MOMENT = {"type": "string", "format": "date-time"}
_CURSOR = {"type": "string", "pattern": f"^{queries.CURSOR_PATTERN}$"}
_CHUNKS_CURSOR = {"type": "string", "pattern": "^(?:[0-9]{1,3}|[1-4][0-9]{3}|5000)$"}  # CHUNKS_MOST
_CHUNKS_LIMIT = {"type": "integer", "minimum": 1, "maximum": limits.CHUNKS_MOST}
_LIMIT = {
    "type": "integer",
    "minimum": 1,
    "maximum": limits.LIST_LIMIT_MOST,
    "default": limits.LIST_LIMIT_DEFAULT,
}


async def read_openapi(exchange: Exchange) -> Reply:
    """Show the API's description."""
    return Reply(200, document_text(), {"Content-Type": "application/json"})


@cache
def endpoints(*, compatible: bool = True) -> Sequence[Endpoint]:
    """Return the calls: all of them, or those alone that are no business of OpenAI's clients.

    The others are imported upon the first request for one, and not at the isolate's start.
    """
    if not compatible:
        return ENDPOINTS
    from . import webhook_calls  # noqa: PLC0415
    from .responses import endpoints as responses  # noqa: PLC0415

    return (*ENDPOINTS, *responses.ENDPOINTS, *webhook_calls.ENDPOINTS)


@cache
def document() -> dict[str, object]:
    """Build the API's description; once an isolate, upon the first request for it."""
    return openapi.document(endpoints())


@cache
def document_text() -> str:
    """Write the API's description as JSON; once an isolate, too."""
    return json.dumps(document(), ensure_ascii=False)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/tasks",
        name="submitTask",
        summary="Submit a text; the task is durable in the database once this answers",
        handler=tasks.submit,
        access=Scope.WRITE,
        body=NewTaskFields,
        makes_tasks=True,
        parameters=(
            IDEMPOTENCY_KEY,
            Parameter(
                "dryRun",
                "`true` checks the request and shows its plan, and stores nothing.",
                {"type": "string", "enum": ["true", "false"], "default": "false"},
            ),
        ),
        answers=(
            Answer(200, "With `dryRun=true`: the plan; nothing is stored", (PlanView,)),
            Answer(202, "Accepted", (WholeTaskView,), ("Location", "Retry-After", "Idempotency-Replayed"), _OF_TASK),
        ),
        problems=(
            problems.MALFORMED_BODY,
            problems.BAD_IDEMPOTENCY_KEY,
            problems.IDEMPOTENCY_MISMATCH,
            problems.TOO_LARGE,
            problems.UNSUPPORTED_MEDIA_TYPE,
            *problems.DATABASE_KINDS,
        ),
    ),
    Endpoint(
        method="GET",
        path="/api/tasks",
        name="listTasks",
        summary="List tasks, newest first, without their results",
        handler=tasks.read_page,
        access=Scope.READ,
        parameters=(
            Parameter("status", "Only tasks of this status.", {"type": "string", "enum": list(Status)}),
            Parameter("createdAfter", "Only tasks created after this time.", _MOMENT),
            Parameter("createdBefore", "Only tasks created before this time.", _MOMENT),
            Parameter("limit", "How many tasks at most.", _LIMIT),
            Parameter("cursor", "The `nextCursor` of the page before.", _CURSOR),
        ),
        answers=(Answer(200, "A page of tasks", (TaskListView,)),),
        problems=problems.DATABASE_KINDS,
    ),
    Endpoint(
        method="GET",
        path="/api/tasks/{id}",
        name="readTask",
        summary="Read a task, with its result once it has completed",
        handler=tasks.read,
        access=Scope.READ,
        parameters=(
            Parameter("wait", "Seconds to hold the answer back until the task is terminal.", _WAIT),
            Parameter(
                "include",
                "What else to show: the finished `chunks`, the `input` as long as it is kept, or both.",
                {"type": "string", "enum": ["chunks", "input", "chunks,input", "input,chunks"]},
            ),
        ),
        answers=(
            Answer(
                200,
                "The task; with `include=chunks` its finished chunks too",
                (WholeTaskView, TaskWithChunksView),
                ("Retry-After",),
                _OF_TASK,
            ),
        ),
        problems=_ONE_TASK,
    ),
    Endpoint(
        method="DELETE",
        path="/api/tasks/{id}",
        name="eraseTask",
        summary="Cancel a task if needed, and erase its input, chunks and result",
        handler=tasks.erase,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        answers=(Answer(204, "Erased"),),
        problems=_ONE_TASK,
    ),
    Endpoint(
        method="GET",
        path="/api/tasks/{id}/chunks",
        name="readChunks",
        summary="Read the chunks finished so far, in order, before the task has completed too",
        handler=tasks.read_chunks,
        parameters=(
            Parameter("limit", "How many chunks at most; all of them without it.", _CHUNKS_LIMIT),
            Parameter("cursor", "The `nextCursor` of the page before.", _CHUNKS_CURSOR),
        ),
        access=Scope.READ,
        answers=(Answer(200, "The finished chunks", (ChunkListView,)),),
        problems=_ONE_TASK,
    ),
    events.ENDPOINT,
    Endpoint(
        method="POST",
        path="/api/tasks/{id}/cancel",
        name="cancelTask",
        summary="Cancel a task: no model call starts afterwards",
        handler=tasks.cancel,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        answers=(Answer(200, "The task, cancelled", (WholeTaskView,), leads_to=_OF_TASK),),
        problems=(problems.ALREADY_TERMINAL, *_ONE_TASK),
    ),
    Endpoint(
        method="POST",
        path="/api/tasks/{id}/retry",
        name="retryTask",
        summary="Let a failed or cancelled task go on from the chunks that it has",
        handler=tasks.retry,
        access=Scope.WRITE,
        body=RetryFields,
        body_optional=True,
        answers=(Answer(202, "Accepted", (WholeTaskView,), ("Location", "Retry-After"), _OF_TASK),),
        problems=(
            problems.MALFORMED_BODY,
            problems.NOT_RETRYABLE,
            problems.BUDGET_SPENT,
            problems.TOO_LARGE,
            problems.UNSUPPORTED_MEDIA_TYPE,
            *_ONE_TASK,
        ),
    ),
    *bulk.ENDPOINTS,
    *deliveries.ENDPOINTS,
    Endpoint(
        method="POST",
        path="/api/keys",
        name="makeKey",
        summary="Make a key for the caller's own tenant; the answer is the only one that shows it",
        handler=keys.make_key,
        access=Scope.ADMIN,
        body=keys.NewKeyFields,
        answers=(Answer(201, "Made", (keys.NewKeyView,), ("Location",)),),
        problems=(
            problems.MALFORMED_BODY,
            problems.TOO_LARGE,
            problems.UNSUPPORTED_MEDIA_TYPE,
            problems.KEY_LIMIT,
            *problems.DATABASE_KINDS,
        ),
    ),
    Endpoint(
        method="GET",
        path="/api/keys",
        name="listKeys",
        summary="List the tenant's keys, oldest first, without what proves them",
        handler=keys.read_keys,
        access=Scope.ADMIN,
        answers=(Answer(200, "The keys", (keys.KeyListView,)),),
        problems=problems.DATABASE_KINDS,
    ),
    Endpoint(
        method="DELETE",
        path="/api/keys/{id}",
        name="deleteKey",
        summary="Revoke a key of the tenant: at once where this is answered, everywhere within 60 s",
        handler=keys.delete_key,
        access=Scope.ADMIN,
        answers=(Answer(204, "Revoked"),),
        problems=(problems.NOT_FOUND, *problems.DATABASE_KINDS),
        id_schema={"type": "string", "pattern": f"^{ID_PATTERN}$"},
    ),
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
    *observation.ENDPOINTS,
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
    Endpoint(
        method="GET",
        path="/openapi.json",
        name="readOpenapi",
        summary="Read this description",
        handler=read_openapi,
        access=Access.ANY_KEY,
        answers=(Answer(200, "OpenAPI 3.1", (openapi.OpenapiView,)),),
        problems=(),
    ),
)
