"""The API's data: what requests are checked against, what replies are made of, what `/openapi.json` describes.

Requests are pydantic models. Replies are typed dictionaries with the API's own names: our code makes them, so the
type checker checks them, and the isolate's start need not build a validator for each.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import BaseModel, ConfigDict, Field, with_config
from pydantic.alias_generators import to_camel

from ..core import limits
from ..core.states import Status
from ..core.task import Reduce, Route

# Text that goes into the database and to a model. The rule is checked in `fields`; here it is stated.
NO_NUL = {"pattern": "^[^\\u0000]*$"}
_Count = Annotated[int, Field(ge=0)]
_Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-05T12:00:00.000Z"])]


_shown = with_config(ConfigDict(extra="forbid"))


class Asked(BaseModel):
    """What every request's model has in common."""

    # `strict` because "6000" is no number and true is no 1; the input stays out of error texts and logs.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, hide_input_in_errors=True
    )


class ChunkOptions(Asked):
    """How the input is cut; sizes in Unicode code points."""

    max_chars: Annotated[int, Field(ge=1, le=limits.CHUNK_CHARS_MOST)] | None = Field(
        None, description="The most that a chunk holds; by default the deployment's CHUNK_MAX_CHARS."
    )
    overlap_chars: Annotated[int, Field(ge=0, lt=limits.CHUNK_CHARS_MOST)] | None = Field(
        None, description="How much of the chunk before is repeated; less than maxChars, by default 0."
    )


class NewTaskFields(Asked):
    """The body of `POST /api/tasks`. A field that is null counts as absent."""

    input: Annotated[str, Field(min_length=1, json_schema_extra=NO_NUL)] = Field(
        description="The text to analyse; at most MAX_INPUT_BYTES of UTF-8."
    )
    instructions: (
        Annotated[str, Field(min_length=1, max_length=limits.INSTRUCTIONS_CHARS_MOST, json_schema_extra=NO_NUL)] | None
    ) = Field(None, description="What to do with each part.")
    reduce: Annotated[Reduce, Field(strict=False)] | None = Field(
        None,
        description="`concat` (default) joins the outputs with a blank line, `merge` makes one answer out of them "
        "with further model calls, `none` leaves the list.",
    )
    chunk: ChunkOptions | None = None
    model: Annotated[str, Field(min_length=1, max_length=limits.MODEL_CHARS_MOST)] | None = Field(
        None, description="Overrides the deployment's model; printable characters."
    )
    metadata: dict[str, object] | None = Field(
        None, description=f"Echoed as it is; at most {limits.METADATA_BYTES_MOST} bytes as compact UTF-8 JSON."
    )
    deadline_seconds: Annotated[float, Field(ge=1, le=limits.DEADLINE_SECONDS_MOST)] | None = Field(
        None,
        description="If the task is not finished by then it fails with `deadline_exceeded`, and no model call starts "
        "afterwards. A retry gives it the same time again.",
    )
    max_model_calls: Annotated[int, Field(ge=1, le=limits.MODEL_CALLS_MOST)] | None = Field(
        None,
        description="The task never makes more model calls than this, whatever fails and however often it is retried: "
        "it fails with `budget_exhausted` instead, and finished chunks stay readable.",
    )


@_shown
class ProgressView(TypedDict):
    """How many chunks there are, and how many of them are done."""

    total: Annotated[int, Field(ge=1)]
    completed: _Count
    failed: _Count


@_shown
class ResultView(TypedDict):
    """One text for `concat` and `merge`, the list of the chunks' outputs for `none`."""

    output: str | list[str]


@_shown
class FailureView(TypedDict):
    """Why a task or a chunk failed; `retryable` says whether trying again can help."""

    code: str
    message: str
    retryable: bool


@_shown
class UsageView(TypedDict):
    """The bill. `modelCalls` counts every call that was sent, `inDoubt` those whose outcome is unknown."""

    modelCalls: _Count
    minimumCalls: Annotated[int, Field(ge=1)]
    inDoubt: _Count
    inputTokens: _Count
    outputTokens: _Count


@_shown
class LinksView(TypedDict):
    """Where to go from here."""

    self: str
    chunks: str
    cancel: str


@_shown
class TaskView(TypedDict):
    """A task. `result` is null until it has completed, and in lists."""

    id: str
    status: Status
    terminal: bool
    route: Route
    progress: ProgressView
    result: ResultView | None
    error: FailureView | None
    usage: UsageView
    attempts: _Count
    metadata: Mapping[str, object]
    createdAt: _Time
    startedAt: _Time | None
    finishedAt: _Time | None
    expiresAt: _Time | None
    deadlineAt: _Time | None
    maxModelCalls: Annotated[int, Field(ge=1)] | None
    links: LinksView


@_shown
class ChunkView(TypedDict):
    """A finished chunk: the span of `input` that it covers, in code points, and what became of it."""

    index: _Count
    start: _Count
    end: Annotated[int, Field(ge=1)]
    status: Literal["completed", "failed"]
    output: str | None
    attempts: _Count
    error: FailureView | None


@_shown
class TaskWithChunksView(TaskView):
    """A task with `?include=chunks`."""

    chunks: list[ChunkView]


@_shown
class ChunkListView(TypedDict):
    """The chunks finished so far, in order."""

    chunks: list[ChunkView]


@_shown
class TaskListView(TypedDict):
    """A page of tasks, newest first; `nextCursor` is null on the last one. A page of one status may be short, or empty,
    and not be the last: what counts is `nextCursor`.
    """

    tasks: list[TaskView]
    nextCursor: str | None


@_shown
class QueueCheckView(TypedDict):
    """Which bindings the deployment has. The names are older than the camel case of the rest."""

    hasAIQueue: bool
    hasAIDLQ: bool
    hasDurableObjects: bool


@_shown
class ServiceView(TypedDict):
    """How the deployment processes tasks; `degraded` without queue and objects."""

    status: Literal["healthy", "degraded"]
    service: str
    architecture: str
    queueCheck: QueueCheckView


@_shown
class AllowanceView(TypedDict):
    """What was used of a daily allowance of the free plan."""

    used: Annotated[int | float, Field(ge=0)]
    limit: _Count


@_shown
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


@_shown
class VerboseServiceView(ServiceView):
    """With `?verbose=1`. `usage` is there under `make dev --limits …`; null on a deployed Worker, which cannot know
    what its account has used: Cloudflare shows that in the dashboard.
    """

    usage: DayUseView | None


@_shown
class UnhealthyServiceView(TypedDict):
    """The deployment cannot accept tasks; `detail` says what to run."""

    status: Literal["unhealthy"]
    service: str
    architecture: str
    queueCheck: QueueCheckView
    detail: str


@_shown
class ModelView(TypedDict):
    """Whether model calls would work."""

    status: Literal["healthy", "degraded", "unavailable"]
    provider: str
    model: str
    checkedAt: _Time
    detail: str


class OpenapiView(TypedDict):
    """An OpenAPI document."""

    openapi: str
    info: Mapping[str, object]
    paths: Mapping[str, object]
    components: Mapping[str, object]


@_shown
class FieldErrorView(TypedDict):
    """What is wrong with one field, named by its path."""

    field: Annotated[str, Field(examples=["chunk.maxChars"])]
    message: str


@_shown
class ProblemView(TypedDict):
    """Problem details (RFC 9457). `code` is stable; `errors` is there where fields are named, `limit` where a
    limit of the tenant is reached.
    """

    type: Annotated[str, Field(json_schema_extra={"format": "uri"})]
    title: str
    status: int
    detail: str
    code: str
    limit: NotRequired[str]
    errors: NotRequired[list[FieldErrorView]]
