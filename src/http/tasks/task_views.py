"""Tasks and their chunks as the API shows them."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NotRequired, TypedDict, cast

from pydantic import Field

from ...core import task as core
from ...core.codes import TaskCode
from ...core.ids import split_task_key
from ...core.states import Status
from ...core.task import Route
from ..base.acting import Acting
from ..base.services import Api
from ..base.views import Count, Time, maybe_rfc3339, rfc3339, shown
from .request_views import RequestView, request_view
from .waiting_for import LastErrorView, WaitView, estimated_finish, last_error_view, wait_view, waiting_for


@shown
class ProgressView(TypedDict):
    """How many chunks the task has, and how many are done.

    `truncated` counts outputs that were cut off (`finishReason` `length` or `content_filter`), also those of merges.
    """

    total: Annotated[int, Field(ge=1)]
    completed: Count
    failed: Count
    truncated: Count


@shown
class ResultView(TypedDict):
    """One text for `concat` and `merge`, the list of the chunks' outputs for `none`."""

    output: str | list[str]


@shown
class FailureView(TypedDict):
    """Why a task or a chunk failed. `retryable` says whether trying again can help."""

    code: TaskCode
    message: str
    retryable: bool


@shown
class UsageView(TypedDict):
    """The bill. `modelCalls` counts every call that was sent, `inDoubt` the calls without an answer.

    The worker died, the connection was lost or cut, or `AI_TIMEOUT_SECONDS` passed. The provider may have counted calls
    without an answer.
    """

    modelCalls: Count
    minimumCalls: Annotated[int, Field(ge=1)]
    inDoubt: Count
    inputTokens: Count
    outputTokens: Count


@shown
class LinksView(TypedDict):
    """Where to go from here."""

    self: str
    chunks: str
    cancel: str
    retry: str
    events: str


@shown
class TaskView(TypedDict):
    """A task. `result` is null until the task has completed, and in lists.

    `waitingFor` is null while calls are out or about to start, and when the task has ended. `tenant` is set if the
    request names another tenant, or all. `name` is `name`, `title` or `label` of the metadata, else the beginning of
    the text's first line. That line goes when the input is emptied.
    """

    id: str
    tenant: NotRequired[str]
    name: str | None
    status: Status
    terminal: bool
    route: Route
    progress: ProgressView
    waitingFor: WaitView | None
    result: ResultView | None
    error: FailureView | None
    usage: UsageView
    attempts: Count
    metadata: Mapping[str, object]
    createdAt: Time
    startedAt: Time | None
    finishedAt: Time | None
    expiresAt: Time | None
    deadlineAt: Time | None
    maxModelCalls: Annotated[int, Field(ge=1)] | None
    links: LinksView


@shown
class ChunkView(TypedDict):
    """A finished chunk: its span of `input`, in code points, and its output or failure.

    `finishReason` is why the chunk's output ends: `stop`, `length` (it was cut off), `content_filter`, or the
    provider's own word. `startedAt` and `finishedAt` are when the call that gave the output, or its group of calls in a
    lane, was sent and answered. `firstStartedAt` is when the first of all its calls was sent. Between `firstStartedAt`
    and `startedAt` earlier calls failed, and the chunk waited for the next one. `lane` is the number of the lane that
    made the call, null if the task's own worker made it. Each of these fields is null if its value is unknown, and for
    a failed chunk. `firstStartedAt` is also null if an earlier worker made the first call.
    """

    index: Count
    start: Count
    end: Annotated[int, Field(ge=1)]
    status: Literal["completed", "failed"]
    output: str | None
    attempts: Count
    error: FailureView | None
    finishReason: str | None
    startedAt: Time | None
    finishedAt: Time | None
    firstStartedAt: Time | None
    lane: Annotated[int, Field(ge=1)] | None


@shown
class CallKeyView(TypedDict):
    """Which output a call is for. Level 0 are the chunks. Each level above merges the one below it."""

    level: Count
    index: Count


@shown
class CallsView(TypedDict):
    """Calls without an answer. `announcedAt` is when calls were last announced, null if none ever was.

    `out` are calls that are announced and may be under way: each starts soon after its announcement, or not at all.
    `inDoubt` are calls whose worker died, those of the latest takeover. The bill's `inDoubt` also counts calls of
    earlier takeovers.
    """

    announcedAt: Time | None
    out: list[CallKeyView]
    inDoubt: list[CallKeyView]


@shown
class WholeTaskView(TaskView):
    """A task that is read by its id. `input` is set with `?include=input`, and null once the input is no longer kept.

    `estimatedFinishAt` is null until the pace is known. The estimate assumes the present pace, and that a wait ends on
    time.
    """

    request: RequestView
    lastError: LastErrorView | None
    estimatedFinishAt: Time | None
    calls: CallsView
    input: NotRequired[str | None]


@shown
class TaskWithChunksView(WholeTaskView):
    """A task with `?include=chunks`."""

    chunks: list[ChunkView]


@shown
class ChunkListView(TypedDict):
    """The finished chunks in order. Long outputs shorten a page. `nextCursor` is null if no other chunk is finished."""

    chunks: list[ChunkView]
    nextCursor: str | None


def task_path(task_id: str) -> str:
    """Return the path of a task."""
    return f"/api/tasks/{task_id}"


def task_view(task: core.Task, api: Api, acting: Acting) -> TaskView:
    """Show a task, with links that the same key can follow."""
    here, behind = task_path(task.id), acting.query(task.task_key)
    view = TaskView(
        id=task.id,
        name=task.name,
        status=task.status,
        terminal=task.status.terminal,
        route=task.route,
        progress=progress_view(task),
        waitingFor=wait_view(waiting_for(task, api)),
        result=_result_view(task.result),
        error=failure_view(task.failure),
        usage=usage_view(task.usage),
        attempts=task.attempts,
        metadata=task.options.metadata,
        createdAt=rfc3339(task.created_at),
        startedAt=maybe_rfc3339(task.started_at),
        finishedAt=maybe_rfc3339(task.finished_at),
        expiresAt=maybe_rfc3339(task.expires_at),
        deadlineAt=maybe_rfc3339(task.deadline_at),
        maxModelCalls=task.options.max_calls,
        links=LinksView(
            self=f"{here}{behind}",
            chunks=f"{here}/chunks{behind}",
            cancel=f"{here}/cancel{behind}",
            retry=f"{here}/retry{behind}",
            events=f"{here}/events{behind}",
        ),
    )
    if acting.names_tenants:
        # In the model's order: after the id.
        return cast("TaskView", {"id": view["id"], "tenant": split_task_key(task.task_key)[0], **view})
    return view


def whole_task_view(task: core.Task, api: Api, acting: Acting) -> WholeTaskView:
    """Show a task with its request."""
    assert task.source is not None  # a task that is read by its id has one
    also = {
        "request": request_view(task.options, task.source, api),
        "lastError": last_error_view(task.last_error),
        "estimatedFinishAt": estimated_finish(task, waiting_for(task, api)),
        "calls": _calls_view(task),
    }
    return cast("WholeTaskView", {**task_view(task, api, acting), **also})


def with_chunks(view: WholeTaskView, chunks: Sequence[core.FinishedChunk]) -> TaskWithChunksView:
    """Add a task's finished chunks."""
    return cast("TaskWithChunksView", {**view, "chunks": [chunk_view(chunk) for chunk in chunks]})


def chunk_view(chunk: core.FinishedChunk) -> ChunkView:
    """Show a finished chunk."""
    return ChunkView(
        index=chunk.index,
        start=chunk.start,
        end=chunk.end,
        status="completed" if chunk.failure is None else "failed",
        output=chunk.output,
        attempts=chunk.attempts,
        error=failure_view(chunk.failure),
        finishReason=chunk.finish_reason,
        startedAt=maybe_rfc3339(chunk.started_at),
        finishedAt=maybe_rfc3339(chunk.finished_at),
        firstStartedAt=maybe_rfc3339(chunk.first_started_at),
        lane=chunk.lane,
    )


def _calls_view(task: core.Task) -> CallsView:
    def listed(calls: Sequence[tuple[int, int]]) -> list[CallKeyView]:
        return [CallKeyView(level=level, index=index) for level, index in calls]

    return CallsView(
        announcedAt=maybe_rfc3339(task.announced_at), out=listed(task.calls_out), inDoubt=listed(task.calls_in_doubt)
    )


def progress_view(task: core.Task) -> ProgressView:
    """Show how far a task has got."""
    return ProgressView(total=task.total, completed=task.completed, failed=task.failed, truncated=task.truncated)


def usage_view(usage: core.Usage) -> UsageView:
    """Show a bill."""
    return UsageView(
        modelCalls=usage.model_calls,
        minimumCalls=usage.minimum_calls,
        inDoubt=usage.in_doubt,
        inputTokens=usage.input_tokens,
        outputTokens=usage.output_tokens,
    )


def _result_view(result: str | tuple[str, ...] | None) -> ResultView | None:
    if result is None:
        return None
    return ResultView(output=result if isinstance(result, str) else list(result))


def failure_view(failure: core.Failure | None) -> FailureView | None:
    """Show a failure."""
    if failure is None:
        return None
    return FailureView(code=failure.code, message=failure.message, retryable=failure.retryable)
