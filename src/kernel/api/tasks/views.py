"""The API's views of a task, its request, its progress, its bill, its chunks, and of a page of tasks."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, NotRequired, TypedDict, cast

from pydantic import Field

from ...domain import limits
from ...domain import task as core
from ...domain.codes import TaskCode
from ...domain.ids import FileKey, batch_id, file_id, split_task_key
from ...domain.prices import price_of, written
from ...domain.structure import Gap, Quote
from ...domain.task import Reduce, Route, Source, Status, TaskOptions
from ...store.events import Look
from ...store.rows import Counts
from ..base.exchange import Acting
from ..base.services import Api
from ..base.views import (
    Amount,
    CostView,
    Count,
    FailureView,
    PlannedCostView,
    Time,
    amount_view,
    failure_view,
    maybe_rfc3339,
    rfc3339,
    shown,
)
from .waiting_for import LastErrorView, WaitView, estimated_finish, last_error_view, wait_view, waiting_for


@shown
class FaultView(TypedDict):
    """What is wrong with an output.

    `pointer` is a JSON pointer to the place, which is an empty text for the root. `expected` says what should be there.
    """

    pointer: str
    expected: str


@shown
class RejectedView(TypedDict):
    """The last answer for a failed chunk, which did not fit the task's schema, and the first of the answer's faults."""

    output: Annotated[str, Field(max_length=limits.REJECTED_CHARS_MOST)]
    errors: Annotated[list[FaultView], Field(max_length=limits.FAULTS_MOST)]


@shown
class ChunkView(TypedDict):
    """A finished chunk: its span of `input`, in code points, and its output or failure. A `gap` is a failed chunk, too.

    `finishReason` is why the chunk's output ends: `stop`, `length` (it was cut off), `content_filter`, or the
    provider's own word. `startedAt` and `finishedAt` are when the call that gave the output was sent and answered; if a
    lane made the call in a group, they are the times of the group. `firstStartedAt` is when the chunk's first call was
    sent. Between `firstStartedAt` and `startedAt` earlier calls failed, and the chunk waited for the next one. `lane`
    is the number of the lane that made the call, null if the task's own worker made it. Each of these fields is null if
    its value is unknown, and for a failed chunk. `firstStartedAt` is also null if an earlier worker made the first
    call. `rejected` is set if an output did not fit the task's schema. `cached` is set if the output came from the
    cache of Cloudflare's AI Gateway, and so cost nothing.
    """

    index: Count
    start: Count
    end: Annotated[int, Field(ge=1)]
    status: Literal["completed", "failed", "gap"]
    output: str | None
    attempts: Count
    error: FailureView | None
    finishReason: str | None
    startedAt: Time | None
    finishedAt: Time | None
    firstStartedAt: Time | None
    lane: Annotated[int, Field(ge=1)] | None
    rejected: NotRequired[RejectedView]
    cached: NotRequired[Literal[True]]


@shown
class ChunkListView(TypedDict):
    """The finished chunks in order. Long outputs shorten a page. `nextCursor` is null if no other chunk is finished.

    A batch has no chunks here: its outputs are the lines of `outputFile`, a file of `/v1/files`, which also has the
    lines so far. `outputFile` is set for batches alone, and null while or if there is no such file.
    """

    chunks: list[ChunkView]
    nextCursor: str | None
    outputFile: NotRequired[str | None]


def chunk_view(chunk: core.FinishedChunk) -> ChunkView:
    """Show a finished chunk."""
    view = ChunkView(
        index=chunk.index,
        start=chunk.start,
        end=chunk.end,
        status=_status(chunk),
        output=chunk.output,
        attempts=chunk.attempts,
        error=failure_view(chunk.failure),
        finishReason=chunk.finish_reason,
        startedAt=maybe_rfc3339(chunk.started_at),
        finishedAt=maybe_rfc3339(chunk.finished_at),
        firstStartedAt=maybe_rfc3339(chunk.first_started_at),
        lane=chunk.lane,
    )
    if chunk.rejected is not None:
        faults = [FaultView(pointer=pointer, expected=expected) for pointer, expected in chunk.rejected.faults]
        view["rejected"] = RejectedView(output=chunk.rejected.answer, errors=faults)
    if chunk.cached:
        view["cached"] = True
    return view


def _status(chunk: core.FinishedChunk) -> Literal["completed", "failed", "gap"]:
    if chunk.failure is None:
        return "completed"
    return "gap" if chunk.is_gap else "failed"


@shown
class ProgressView(TypedDict):
    """How many chunks the task has, and how many of them are completed or failed.

    The chunks of a batch are its lines, and `total` is null until they are counted. `truncated` counts outputs that
    were cut off (`finishReason` `length` or `content_filter`), also those of merges.
    """

    total: Annotated[int, Field(ge=1)] | None
    completed: Count
    failed: Count
    truncated: Count


@shown
class UsageView(TypedDict):
    """The bill of a task. `modelCalls` counts every call that was sent, `inDoubt` the calls without an answer.

    A call has no answer if its worker died, its connection was lost or cut, or `AI_TIMEOUT_SECONDS` passed. The
    provider may have billed calls without an answer. `minimumCalls` is 0 while the lines of a batch are counted. The
    other counts are set for a task with a schema: `reasks` counts calls that asked the model again because an output
    did not fit, `rejected` answers without a usable output, and `repaired` outputs that were repaired. With quotes in
    the schema, `quotesNotFound` counts those of the model that are not in their source, and so became null.
    `cachedInputTokens` is the part of `inputTokens` that the provider had in its cache. `cost` is null if the model has
    no price.
    """

    modelCalls: Count
    minimumCalls: Count
    inDoubt: Count
    inputTokens: Count
    outputTokens: Count
    cachedInputTokens: Count
    cost: CostView | None
    reasks: NotRequired[Count]
    rejected: NotRequired[Count]
    repaired: NotRequired[Count]
    quotesNotFound: NotRequired[Count]


@shown
class QuoteView(TypedDict):
    """A quote: a JSON pointer to it in the result's value, and where it stands in `input`, in code points."""

    pointer: str
    start: Count
    end: Annotated[int, Field(ge=1)]


@shown
class GapView(TypedDict):
    """A chunk without an output in a task that completes without it: its span of `input` in code points, and the cause.

    The spans of gaps do not overlap, so together they are the part of the input that `coverage` leaves out.
    """

    chunk: Count
    start: Count
    end: Annotated[int, Field(ge=1)]
    code: TaskCode


def has_schema(task: core.Task) -> bool:
    """Whether a task's outputs must fit a schema."""
    return task.options.structure is not None and task.options.structure.has_schema


def has_quotes(task: core.Task) -> bool:
    """Whether a task's schema has quotes."""
    return task.options.long_text is not None and task.options.long_text.quotes


def quotes_view(quotes: Iterable[Quote]) -> list[QuoteView]:
    """Show quotes."""
    return [QuoteView(pointer=quote.pointer, start=quote.start, end=quote.end) for quote in quotes]


def progress_view(found: core.Task | Look) -> ProgressView:
    """Show how far a task has progressed."""
    total = found.total or None  # 0 while the file of a batch is being read
    return ProgressView(total=total, completed=found.completed, failed=found.failed, truncated=found.truncated)


def cost_view(task: core.Task, api: Api, model: str | None = None) -> CostView | None:
    """Show what the calls of a task have cost, None without a price. `model` is by default the task's."""
    usage, options = task.usage, task.options
    model = model or options.model or api.provider.default_model
    if usage.cost is None and price_of(api.settings.prices, model, options.model_options.get("service_tier")) is None:
        return None
    return amount_view(usage.cost or 0, usage.cost_in_doubt)


def usage_view(task: core.Task, api: Api) -> UsageView:
    """Show a bill."""
    usage = task.usage
    view = UsageView(
        modelCalls=usage.model_calls,
        minimumCalls=usage.minimum_calls,
        inDoubt=usage.in_doubt,
        inputTokens=usage.input_tokens,
        outputTokens=usage.output_tokens,
        cachedInputTokens=usage.cached_tokens,
        cost=cost_view(task, api),
    )
    if has_schema(task):
        view["reasks"], view["rejected"], view["repaired"] = usage.reasks, usage.rejected, usage.repaired
    if has_quotes(task):
        view["quotesNotFound"] = usage.quotes_not_found
    return view


def covered(task: core.Task) -> float:
    """Return the share of the text that is not in gaps, from 0 to 1."""
    return 1.0 if task.coverage is None else task.coverage


def gap_view(gap: Gap) -> GapView:
    """Show a gap."""
    return GapView(chunk=gap.chunk, start=gap.start, end=gap.end, code=gap.code)


@shown
class ChunkRequestView(TypedDict):
    """How the input is cut. `maxChars` is null if the task has no limit on a chunk's size."""

    maxChars: Annotated[int, Field(ge=1)] | None
    overlapChars: Count


@shown
class RequestView(TypedDict):
    """The request of a task. If it names no `model` or `maxOutputTokens`, the view shows the deployment's.

    Null means that the provider's own value applies. `inputCharacters` counts code points, and is null until the text
    of a file is cut. `inputFile` is set for a task whose text is in a file. `outputSchema`, `strict` and `join` are set
    for a task with a schema, `onChunkFailure` and `maxGapShare` for a task with a schema or with gaps. A key without
    the scope `read` sees null instead of a schema. `contextChars` and `headings` are set if something goes along with
    the chunks. `notBefore` is set if the request had it.
    """

    model: str
    instructions: str
    reduce: Reduce
    chunk: ChunkRequestView
    maxOutputTokens: Annotated[int, Field(ge=1)] | None
    temperature: float | None
    modelOptions: dict[str, object]
    inputCharacters: Count | None
    inputFile: NotRequired[str]
    outputSchema: NotRequired[dict[str, object] | None]
    strict: NotRequired[bool]
    join: NotRequired[dict[str, str]]
    onChunkFailure: NotRequired[Literal["fail", "gap"]]
    maxGapShare: NotRequired[float]
    contextChars: NotRequired[Count]
    headings: NotRequired[bool]
    notBefore: NotRequired[Time]


@shown
class PlannedChunkView(TypedDict):
    """A chunk that a task would have: its span of `input`, in code points."""

    index: Count
    start: Count
    end: Annotated[int, Field(ge=1)]


@shown
class PlanView(TypedDict):
    """The plan of a submission. `characters` counts the code points of `input`.

    `estimatedTokens` roughly estimates the input of the chunks' calls, with instructions and output schema: one token
    for a Chinese, Japanese or Korean character, and one for four other characters. The estimate leaves out merge calls
    and outputs. `cost` is null if the model has no price.
    """

    request: RequestView
    chunks: list[PlannedChunkView]
    minimumCalls: Annotated[int, Field(ge=1)]
    characters: Annotated[int, Field(ge=1)]
    estimatedTokens: Annotated[int, Field(ge=1)]
    cost: PlannedCostView | None


def request_view(options: TaskOptions, source: Source, api: Api, text_file: FileKey | None = None) -> RequestView:
    """Show the request of a task. `text_file` is the file that has its text."""
    view = RequestView(
        model=options.model or api.provider.default_model,
        instructions=source.instructions,
        reduce=options.reduce,
        chunk=ChunkRequestView(maxChars=options.chunk_chars, overlapChars=source.overlap),
        maxOutputTokens=options.max_output_tokens or api.settings.max_output_tokens,
        temperature=options.temperature,
        modelOptions=dict(options.model_options),
        inputCharacters=None if text_file is not None and not source.characters else source.characters,
    )
    if text_file is not None:
        view["inputFile"] = file_id(text_file)
    if options.starts_at is not None:
        view["notBefore"] = rfc3339(options.starts_at)
    structure = options.structure
    if structure is not None and structure.has_schema:
        view["outputSchema"] = None if source.output_schema is None else dict(source.output_schema)
        view["strict"] = structure.strict
        view["join"] = dict(source.join_rules or {})
    if structure is not None:
        view["onChunkFailure"] = "gap" if structure.gaps else "fail"
        view["maxGapShare"] = structure.max_gap_share
    long_text = options.long_text
    if long_text is not None and long_text.goes_along:
        view["contextChars"], view["headings"] = long_text.context_chars, long_text.headings
    return view


@shown
class ResultView(TypedDict):
    """The result of a task. `output` is one text for `concat` and `merge`. For `none` it is a list with null for gaps.

    `value` is set if the task has a schema: it is `output` as JSON. `quotes` is set if the schema has quotes: they are
    in the order of the text's chunks.
    """

    output: str | list[str | None]
    value: NotRequired[dict[str, object] | list[dict[str, object] | None]]
    quotes: NotRequired[list[QuoteView]]


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
    the text's first line, while that is kept. `coverage` is set with `onChunkFailure: gap`: it is the share of the
    characters that are not in gaps. `kind` is set for a batch of `/v1/batches`, and `batch` is its id there. `retryOf`
    is set for a task that makes the missing chunks or lines of another task: it is the id of that task.
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
    maxCost: Amount | None
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
        usage=usage_view(task, api),
        attempts=task.attempts,
        metadata=task.options.metadata,
        createdAt=rfc3339(task.created_at),
        startedAt=maybe_rfc3339(task.started_at),
        finishedAt=maybe_rfc3339(task.finished_at),
        expiresAt=maybe_rfc3339(task.expires_at),
        deadlineAt=maybe_rfc3339(task.deadline_at),
        maxModelCalls=task.options.max_calls,
        maxCost=None if task.options.max_cost is None else written(task.options.max_cost),
        links=LinksView(
            self=f"{here}{behind}",
            chunks=f"{here}/chunks{behind}",
            cancel=f"{here}/cancel{behind}",
            retry=f"{here}/retry{behind}",
            events=f"{here}/events{behind}",
        ),
    )
    view = cast("TaskView", {**view, **task.options.extras})
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
    if has_quotes(task):
        view["quotes"] = quotes_view(task.quotes)
    return view


@shown
class StatusCountsView(TypedDict):
    """How many of the newest `among` tasks that match all filters but `status` have each status, on whatever page.

    `all` says that there are no other such tasks in the requested time.
    """

    pending: Count
    processing: Count
    completed: Count
    failed: Count
    cancelled: Count
    among: Count
    all: bool


@shown
class TaskListView(TypedDict):
    """A page of tasks, newest first. Pages may be short or empty; only the last page has a `nextCursor` of null.

    `counts` is set with `?counts=true`.
    """

    tasks: list[TaskView]
    nextCursor: str | None
    counts: NotRequired[StatusCountsView]


def counts_view(counts: Counts) -> StatusCountsView:
    """Show how many tasks have each status."""
    of = counts.of
    return StatusCountsView(
        pending=of[Status.PENDING],
        processing=of[Status.PROCESSING],
        completed=of[Status.COMPLETED],
        failed=of[Status.FAILED],
        cancelled=of[Status.CANCELLED],
        among=counts.among,
        all=counts.all,
    )
