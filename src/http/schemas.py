"""The API's data: what requests are checked against, what replies are made of, what `/openapi.json` describes.

Requests are pydantic models. Replies are typed dictionaries with the API's own names: our code makes them, so the
type checker checks them, and the isolate's start need not build a validator for each.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, with_config
from pydantic.alias_generators import to_camel

from ..core import limits
from ..core.states import Status
from ..core.task import Reduce, Route

# Text that goes into the database and to a model. The rule is checked in `fields`; here it is stated.
NO_NUL = {"pattern": "^[^\\u0000]*$"}
_NO_CONTROLS = {"pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"}
Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, examples=["2026-11-05T12:00:00.000Z"])]


def _whole(value: object) -> object:
    """Take 6000.0 for 6000, as JSON Schema does: JSON has one kind of number, and libraries may write it so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)
shown = with_config(ConfigDict(extra="forbid"))


class Asked(BaseModel):
    """What every request's model has in common."""

    # `strict` because "6000" is no number and true is no 1; the input stays out of error texts and logs.
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", strict=True, frozen=True, hide_input_in_errors=True
    )


class ChunkOptions(Asked):
    """How the input is cut; sizes in Unicode code points."""

    max_chars: Annotated[int, Field(ge=1, le=limits.CHUNK_CHARS_MOST), Whole] | None = Field(
        None, description="The most that a chunk holds; by default the deployment's CHUNK_MAX_CHARS."
    )
    overlap_chars: Annotated[int, Field(ge=0, lt=limits.CHUNK_CHARS_MOST), Whole] | None = Field(
        None, description="How much of the chunk before is repeated; less than maxChars, by default 0."
    )


class NewTaskFields(Asked):
    """The body of `POST /api/tasks`. An optional field that is null counts as absent."""

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
    model: (
        Annotated[str, Field(min_length=1, max_length=limits.MODEL_CHARS_MOST, json_schema_extra=_NO_CONTROLS)] | None
    ) = Field(None, description="Overrides the deployment's model; printable characters.")
    metadata: dict[str, object] | None = Field(
        None, description=f"Echoed as it is; at most {limits.METADATA_BYTES_MOST} bytes as compact UTF-8 JSON."
    )
    deadline_seconds: Annotated[float, Field(ge=1, le=limits.DEADLINE_SECONDS_MOST)] | None = Field(
        None,
        description="If the task is not finished by then it fails with `deadline_exceeded`, and no model call starts "
        "afterwards. A retry gives it the same time again.",
    )
    max_model_calls: Annotated[int, Field(ge=1, le=limits.MODEL_CALLS_MOST), Whole] | None = Field(
        None,
        description="The task never makes more model calls than this, whatever fails and however often it is retried: "
        "it fails with `budget_exhausted` instead, and finished chunks stay readable.",
    )


@shown
class ProgressView(TypedDict):
    """How many chunks there are, and how many of them are done."""

    total: Annotated[int, Field(ge=1)]
    completed: Count
    failed: Count


@shown
class ResultView(TypedDict):
    """One text for `concat` and `merge`, the list of the chunks' outputs for `none`."""

    output: str | list[str]


@shown
class FailureView(TypedDict):
    """Why a task or a chunk failed; `retryable` says whether trying again can help."""

    code: str
    message: str
    retryable: bool


@shown
class UsageView(TypedDict):
    """The bill. `modelCalls` counts every call that was sent, `inDoubt` those whose outcome is unknown."""

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


@shown
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
    """A finished chunk: the span of `input` that it covers, in code points, and what became of it."""

    index: Count
    start: Count
    end: Annotated[int, Field(ge=1)]
    status: Literal["completed", "failed"]
    output: str | None
    attempts: Count
    error: FailureView | None


@shown
class PlannedChunkView(TypedDict):
    """A chunk that a task would have: the span of `input` that it covers, in code points."""

    index: Count
    start: Count
    end: Annotated[int, Field(ge=1)]


@shown
class PlanView(TypedDict):
    """What a submission would come to. `characters` are code points of `input`. `estimatedTokens` is a rough estimate
    of what the chunks' calls take in, instructions included: a token for a Chinese, Japanese or Korean character, and
    one for four others. Calls that merge come on top, and outputs.
    """

    chunks: list[PlannedChunkView]
    minimumCalls: Annotated[int, Field(ge=1)]
    characters: Annotated[int, Field(ge=1)]
    estimatedTokens: Annotated[int, Field(ge=1)]


@shown
class TaskWithChunksView(TaskView):
    """A task with `?include=chunks`."""

    chunks: list[ChunkView]


@shown
class ChunkListView(TypedDict):
    """The chunks finished so far, in order."""

    chunks: list[ChunkView]


@shown
class TaskListView(TypedDict):
    """A page of tasks, newest first; `nextCursor` is null on the last one. A page of one status may be short, or empty,
    and not be the last: what counts is `nextCursor`.
    """

    tasks: list[TaskView]
    nextCursor: str | None


class OpenapiView(TypedDict):
    """An OpenAPI document."""

    openapi: str
    info: Mapping[str, object]
    paths: Mapping[str, object]
    components: Mapping[str, object]


@shown
class FieldErrorView(TypedDict):
    """What is wrong with one field, named by its path."""

    field: Annotated[str, Field(examples=["chunk.maxChars"])]
    message: str


@shown
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
