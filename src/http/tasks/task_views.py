"""The API's views of a task."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NotRequired, TypedDict, cast

from pydantic import Field

from ...core import task as core
from ...core.ids import batch_id, split_task_key
from ...core.states import Status
from ...core.task import Route
from ..base.acting import Acting
from ..base.services import Api
from ..base.views import Count, FailureView, Time, failure_view, maybe_rfc3339, rfc3339, shown
from .chunk_views import ChunkView, chunk_view
from .outcome_views import (
    GapView,
    ProgressView,
    UsageView,
    covered,
    gap_view,
    has_schema,
    progress_view,
    usage_view,
)
from .request_views import RequestView, request_view
from .waiting_for import LastErrorView, WaitView, estimated_finish, last_error_view, wait_view, waiting_for


@shown
class ResultView(TypedDict):
    """The result of a task. `output` is one text for `concat` and `merge`. For `none` it is a list with null for gaps.

    `value` is set if the task has a schema: it is `output` as JSON.
    """

    output: str | list[str | None]
    value: NotRequired[dict[str, object] | list[dict[str, object] | None]]


@shown
class LinksView(TypedDict):
    """The paths of further requests about this task."""

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
    the text's first line, until the input is emptied. `coverage` is set with `onChunkFailure: gap`: it is the share of
    the characters that are not in gaps. `kind` is set for a batch of `/v1/batches`, and `batch` is its id there.
    `retryOf` is set for a task that makes the missing chunks or lines of another task: it is the id of that task.
    """

    id: str
    tenant: NotRequired[str]
    kind: NotRequired[Literal["batch"]]
    batch: NotRequired[str]
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
    coverage: NotRequired[Annotated[float, Field(ge=0, le=1)]]
    retryOf: NotRequired[str]


@shown
class CallKeyView(TypedDict):
    """The output that a call is for. Calls of level 0 are for chunks; a call of a higher level merges lower outputs."""

    level: Count
    index: Count


@shown
class CallsView(TypedDict):
    """Calls without an answer. `announcedAt` is when calls were last announced, null if none was ever announced.

    `out` lists calls that are announced and may be under way: each starts soon after its announcement, or not at all.
    `inDoubt` lists the calls in doubt of the last worker that died. The bill's `inDoubt` also counts calls of workers
    that died before.
    """

    announcedAt: Time | None
    out: list[CallKeyView]
    inDoubt: list[CallKeyView]


@shown
class WholeTaskView(TaskView):
    """A task that is read by its id. `input` is set with `?include=input`, and null once the input is no longer kept.

    `gaps` is set with `onChunkFailure: gap`: it lists the chunks without which the task continues or has completed.
    `estimatedFinishAt` is null until the task's pace is known. The estimate assumes that the pace stays the same, and
    that a wait ends at its shown time.
    """

    request: RequestView
    lastError: LastErrorView | None
    estimatedFinishAt: Time | None
    calls: CallsView
    gaps: NotRequired[list[GapView]]
    input: NotRequired[str | None]


@shown
class TaskWithChunksView(WholeTaskView):
    """A task with its finished chunks, as `?include=chunks` shows it."""

    chunks: list[ChunkView]


def task_path(task_id: str) -> str:
    """Return the path of a task."""
    return f"/api/tasks/{task_id}"


def task_view(task: core.Task, api: Api, acting: Acting) -> TaskView:
    """Show a task, with links that a request with the same API key can follow."""
    here, behind = task_path(task.id), acting.query(task.task_key)
    view = TaskView(
        id=task.id,
        name=task.name,
        status=task.status,
        terminal=task.status.terminal,
        route=task.route,
        progress=progress_view(task),
        waitingFor=wait_view(waiting_for(task, api)),
        result=_result_view(task),
        error=failure_view(task.failure),
        usage=usage_view(task),
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
    structure = task.options.structure
    if structure is not None and structure.gaps:
        view["coverage"] = covered(task)
    if task.retry_of is not None:
        view["retryOf"] = split_task_key(task.retry_of)[1]
    if task.kind is core.Kind.BATCH:
        of_batch = {"id": view["id"], "kind": "batch", "batch": batch_id(task.id)}
        view = cast("TaskView", {**of_batch, **view})
    if acting.names_tenants:
        # The field `tenant` comes after `id`, as in the model.
        return cast("TaskView", {"id": view["id"], "tenant": split_task_key(task.task_key)[0], **view})
    return view


def whole_task_view(task: core.Task, api: Api, acting: Acting) -> WholeTaskView:
    """Show a task that was read by its id: with its request, its last error, its calls and its gaps."""
    assert task.source is not None  # a task that was read by its id has its `source` set
    also: dict[str, object] = {
        "request": request_view(task.options, task.source, api, task.text_file),
        "lastError": last_error_view(task.last_error),
        "estimatedFinishAt": estimated_finish(task, waiting_for(task, api)),
        "calls": _calls_view(task),
    }
    if task.options.structure is not None and task.options.structure.gaps:
        also["gaps"] = [gap_view(gap) for gap in task.gaps]
    return cast("WholeTaskView", {**task_view(task, api, acting), **also})


def with_chunks(view: WholeTaskView, chunks: Sequence[core.FinishedChunk]) -> TaskWithChunksView:
    """Add a task's finished chunks to the API's view of the task."""
    return cast("TaskWithChunksView", {**view, "chunks": [chunk_view(chunk) for chunk in chunks]})


def _calls_view(task: core.Task) -> CallsView:
    def listed(calls: Sequence[tuple[int, int]]) -> list[CallKeyView]:
        return [CallKeyView(level=level, index=index) for level, index in calls]

    return CallsView(
        announcedAt=maybe_rfc3339(task.announced_at), out=listed(task.calls_out), inDoubt=listed(task.calls_in_doubt)
    )


def _result_view(task: core.Task) -> ResultView | None:
    if task.result is None:
        return None
    view = ResultView(output=task.result if isinstance(task.result, str) else list(task.result))
    if has_schema(task):
        # The value was made from outputs that the schema allows, and a schema allows only objects.
        view["value"] = cast("dict[str, object] | list[dict[str, object] | None]", task.value)
    return view
