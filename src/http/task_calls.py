"""The calls that every isolate is asked for, as entries of the API's table: submit, read, cancel and erase a task."""

from typing import Final

from ..core import limits
from ..core.keys import Scope
from ..core.states import Status
from . import problems, queries, tasks
from .endpoint import IDEMPOTENCY_KEY, Answer, Endpoint, Parameter
from .new_task import NewTaskFields
from .request_views import PlanView
from .task_views import ChunkListView, TaskListView, TaskWithChunksView, WholeTaskView

ONE_TASK: Final = (problems.NOT_FOUND, *problems.DATABASE_KINDS)
OF_TASK: Final = tuple(
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
            Answer(202, "Accepted", (WholeTaskView,), ("Location", "Retry-After", "Idempotency-Replayed"), OF_TASK),
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
                OF_TASK,
            ),
        ),
        problems=ONE_TASK,
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
        problems=ONE_TASK,
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
        problems=ONE_TASK,
    ),
    Endpoint(
        method="POST",
        path="/api/tasks/{id}/cancel",
        name="cancelTask",
        summary="Cancel a task: no model call starts afterwards",
        handler=tasks.cancel,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        answers=(Answer(200, "The task, cancelled", (WholeTaskView,), leads_to=OF_TASK),),
        problems=(problems.ALREADY_TERMINAL, *ONE_TASK),
    ),
)
