"""The API as a table: each call with its handler and every answer that it can give.

The router takes paths and handlers from it, `openapi` all of it; tests hold the handlers to it.
"""

from functools import cache
from typing import Final

from ..core import limits
from ..core.states import Status
from . import openapi, problems, queries, schemas, status, tasks
from .calls import Call, json_reply
from .endpoint import Answer, Endpoint, Parameter
from .ports import Reply

_ONE_TASK = (problems.NOT_FOUND, *problems.DATABASE_KINDS)
_OF_TASK = tuple((name, "id", "/id") for name in ("readTask", "readChunks", "cancelTask", "retryTask", "eraseTask"))
_WAIT = {"type": "number", "minimum": 0, "maximum": limits.WAIT_SECONDS_MOST, "default": 0}
_CURSOR = {"type": "string", "pattern": f"^{queries.CURSOR_PATTERN}$"}
_LIMIT = {
    "type": "integer",
    "minimum": 1,
    "maximum": limits.LIST_LIMIT_MOST,
    "default": limits.LIST_LIMIT_DEFAULT,
}


async def read_openapi(_call: Call) -> Reply:
    """Show the API's description."""
    return json_reply(200, document())


@cache
def document() -> dict[str, object]:
    """Build the API's description; once an isolate, upon the first request for it."""
    return openapi.document(ENDPOINTS)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/tasks",
        name="submitTask",
        summary="Submit a text; the task is durable in the database once this answers",
        handler=tasks.submit,
        body=schemas.NewTaskFields,
        parameters=(
            Parameter(
                "dryRun",
                "`true` checks the request and shows its plan, and stores nothing.",
                {"type": "string", "enum": ["true", "false"], "default": "false"},
            ),
        ),
        answers=(
            Answer(200, "With `dryRun=true`: the plan; nothing is stored", (schemas.PlanView,)),
            Answer(202, "Accepted", (schemas.TaskView,), ("Location", "Retry-After"), _OF_TASK),
        ),
        problems=(
            problems.MALFORMED_BODY,
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
        parameters=(
            Parameter("status", "Only tasks of this status.", {"type": "string", "enum": list(Status)}),
            Parameter("limit", "How many tasks at most.", _LIMIT),
            Parameter("cursor", "The `nextCursor` of the page before.", _CURSOR),
        ),
        answers=(Answer(200, "A page of tasks", (schemas.TaskListView,)),),
        problems=problems.DATABASE_KINDS,
    ),
    Endpoint(
        method="GET",
        path="/api/tasks/{id}",
        name="readTask",
        summary="Read a task, with its result once it has completed",
        handler=tasks.read,
        parameters=(
            Parameter("wait", "Seconds to hold the answer back until the task is terminal.", _WAIT),
            Parameter("include", "What else to show.", {"type": "string", "enum": ["chunks"]}),
        ),
        answers=(
            Answer(
                200,
                "The task; with `include=chunks` its finished chunks too",
                (schemas.TaskView, schemas.TaskWithChunksView),
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
        answers=(Answer(204, "Erased"),),
        problems=_ONE_TASK,
    ),
    Endpoint(
        method="GET",
        path="/api/tasks/{id}/chunks",
        name="readChunks",
        summary="Read the chunks finished so far, in order, before the task has completed too",
        handler=tasks.read_chunks,
        answers=(Answer(200, "The finished chunks", (schemas.ChunkListView,)),),
        problems=_ONE_TASK,
    ),
    Endpoint(
        method="POST",
        path="/api/tasks/{id}/cancel",
        name="cancelTask",
        summary="Cancel a task: no model call starts afterwards",
        handler=tasks.cancel,
        answers=(Answer(200, "The task, cancelled", (schemas.TaskView,), leads_to=_OF_TASK),),
        problems=(problems.ALREADY_TERMINAL, *_ONE_TASK),
    ),
    Endpoint(
        method="POST",
        path="/api/tasks/{id}/retry",
        name="retryTask",
        summary="Let a failed or cancelled task go on from the chunks that it has",
        handler=tasks.retry,
        answers=(Answer(202, "Accepted", (schemas.TaskView,), ("Location", "Retry-After"), _OF_TASK),),
        problems=(problems.NOT_RETRYABLE, *_ONE_TASK),
    ),
    Endpoint(
        method="GET",
        path="/api/async-status",
        name="readService",
        summary="Read how tasks are processed here, and whether the database can take them",
        handler=status.read_service,
        counted=False,
        parameters=(
            Parameter(
                "verbose", "1 shows the day's use of the free plan, too.", {"type": "string", "enum": ["0", "1"]}
            ),
        ),
        answers=(
            Answer(
                200,
                "Tasks are accepted; with `verbose=1` the day's use too",
                (schemas.ServiceView, schemas.VerboseServiceView),
            ),
            Answer(503, "The database cannot take tasks", (schemas.UnhealthyServiceView,), ("Retry-After",)),
        ),
        problems=(),
    ),
    Endpoint(
        method="GET",
        path="/api/ai-status",
        name="readModel",
        summary="Read whether model calls would work, without making one",
        handler=status.read_model,
        counted=False,
        answers=(Answer(200, "The model's state, be it good or bad", (schemas.ModelView,)),),
        problems=(),
    ),
    Endpoint(
        method="GET",
        path="/openapi.json",
        name="readOpenapi",
        summary="Read this description",
        handler=read_openapi,
        answers=(Answer(200, "OpenAPI 3.1", (schemas.OpenapiView,)),),
        problems=(),
    ),
)
