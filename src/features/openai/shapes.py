"""The models of the answers of `/v1/responses` and `/v1/models`, and a task's names in them: a prefix and its id."""

from collections.abc import Mapping
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import Field

from ...kernel.api.base.views import Count, FailureView, Time, shown
from ...kernel.api.tasks.views import GapView, ProgressView, QuoteView, UsageView
from ...kernel.api.tasks.waiting_for import LastErrorView, WaitView
from ...kernel.domain.ids import is_task_id
from ...kernel.domain.task import Reduce

Anything = object
ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
Nothing = Annotated[None, Field(description="Not supported, always null.")]
RESPONSE_PREFIX = "resp_"


def response_id(task_id: str) -> str:
    """Return the name of a task as a response."""
    return RESPONSE_PREFIX + task_id


def task_id_of(name: str) -> str | None:
    """Return the id of the task that a response's name contains, None if the name is malformed."""
    task_id = name.removeprefix(RESPONSE_PREFIX)
    return task_id if task_id != name and is_task_id(task_id) else None


def message_id(task_id: str) -> str:
    """Return the name of a response's output message."""
    return f"msg_{task_id}"


@shown
class OutputTextView(TypedDict):
    """The text of the output."""

    type: Literal["output_text"]
    text: str
    annotations: Annotated[list[Anything], Field(max_length=0)]
    logprobs: Annotated[list[Anything], Field(max_length=0)]


@shown
class OutputMessageView(TypedDict):
    """The one message of a completed response. It is `incomplete` if an output was cut off, or if there are gaps."""

    id: str
    type: Literal["message"]
    status: Literal["completed", "incomplete"]
    role: Literal["assistant"]
    content: list[OutputTextView]


@shown
class IncompleteDetailsView(TypedDict):
    """Why outputs were cut off, or chunks left gaps. `reason` is null for gaps with another cause."""

    reason: Literal["max_output_tokens", "content_filter"] | None


@shown
class ResponseErrorView(TypedDict):
    """Why the response failed, in OpenAI's words. `onceover.error` has the cause in the words of the native API."""

    code: Literal["server_error", "rate_limit_exceeded"]
    message: str


@shown
class InputTokensDetailsView(TypedDict):
    """Details of the input tokens: those that the provider had in its cache. Those written to it are not counted."""

    cached_tokens: Count
    cache_write_tokens: Count


@shown
class OutputTokensDetailsView(TypedDict):
    """Details of the output tokens. Reasoning counts as output, and is not counted separately."""

    reasoning_tokens: Count


@shown
class TokensView(TypedDict):
    """The tokens of all model calls of the response together."""

    input_tokens: Count
    input_tokens_details: InputTokensDetailsView
    output_tokens: Count
    output_tokens_details: OutputTokensDetailsView
    total_tokens: Count


@shown
class ReasoningView(TypedDict):
    """How much the model should reason. With null the model decides."""

    effort: str | None
    summary: Nothing


@shown
class TextFormatView(TypedDict):
    """The format of plain text."""

    type: Literal["text"]


@shown
class SchemaFormatView(TypedDict):
    """The format of JSON that fits a schema. The schema is empty for a key without the scope `read`."""

    type: Literal["json_schema"]
    name: str
    description: Nothing
    schema: dict[str, Anything]
    strict: bool


@shown
class TextView(TypedDict):
    """The format of the response's text."""

    format: TextFormatView | SchemaFormatView
    verbosity: Literal["medium"]


@shown
class OnceoverView(TypedDict):
    """The fields that OpenAI's API lacks, as the native API shows them. `task` is the task's path in the native API.

    The task is kept for `retentionSeconds` after its end. `gaps` and `coverage` are set with `onChunkFailure: gap`.
    `quotes` is set for a completed response whose schema has quotes: the pointers lead into the value of the text.
    `retryOf` is set for a task that makes the missing chunks of another task.
    """

    progress: ProgressView
    waitingFor: WaitView | None
    usage: UsageView
    error: FailureView | None
    lastError: LastErrorView | None
    reduce: Reduce
    deadlineAt: Time | None
    expiresAt: Time | None
    retentionSeconds: Count
    task: str
    gaps: NotRequired[list[GapView]]
    coverage: NotRequired[Annotated[float, Field(ge=0, le=1)]]
    quotes: NotRequired[list[QuoteView]]
    retryOf: NotRequired[str]


@shown
class ResponseView(TypedDict):
    """A response. `output` is empty and `usage` null until the response has ended.

    A completed response has one message.
    """

    id: Annotated[str, Field(examples=["resp_019a0000-0000-7000-8000-000000000000"])]
    object: Literal["response"]
    created_at: Count
    status: ResponseStatus
    background: Literal[True]
    completed_at: Count | None
    error: ResponseErrorView | None
    incomplete_details: IncompleteDetailsView | None
    instructions: str | None
    max_output_tokens: Annotated[int, Field(ge=1)] | None
    max_tool_calls: Nothing
    metadata: Mapping[str, Anything]
    model: str
    output: list[OutputMessageView]
    parallel_tool_calls: Literal[True]
    previous_response_id: Nothing
    prompt: Nothing
    prompt_cache_key: Nothing
    prompt_cache_options: Nothing
    prompt_cache_retention: Nothing
    prompt_cache_diagnostics: Nothing
    reasoning: ReasoningView
    safety_identifier: Nothing
    service_tier: Literal["default"]
    store: bool
    temperature: float
    text: TextView
    tool_choice: str
    tool_usage: Nothing
    tools: Annotated[list[Anything], Field(max_length=0)]
    top_logprobs: Annotated[int, Field(ge=0, le=0)]
    top_p: float
    truncation: Literal["disabled"]
    usage: TokensView | None
    user: Nothing
    access_programs: Nothing
    conversation: Nothing
    image: Nothing
    input_transformations: Nothing
    moderation: Nothing
    onceover: OnceoverView


@shown
class DeletedView(TypedDict):
    """An erased response."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


@shown
class InputTextView(TypedDict):
    """The input text."""

    type: Literal["input_text"]
    text: str


@shown
class InputFileView(TypedDict):
    """The file that has the input text."""

    type: Literal["input_file"]
    file_id: str


@shown
class InputMessageView(TypedDict):
    """The input of a response: one message with one text, or with the file that has it."""

    id: str
    type: Literal["message"]
    status: Literal["completed"]
    role: Literal["user"]
    content: list[InputTextView | InputFileView]


@shown
class InputListView(TypedDict):
    """The input of a response, while the input is kept.

    The list is empty after the input is erased. It is also empty if the request asks for what follows its one item.
    """

    object: Literal["list"]
    data: list[InputMessageView]
    first_id: str | None
    last_id: str | None
    has_more: Literal[False]


@shown
class ListedModelView(TypedDict):
    """A model that a response may name. `created` is 0, because the service does not know the dates of models."""

    id: str
    object: Literal["model"]
    created: Count
    owned_by: str


@shown
class ListedModelsView(TypedDict):
    """The deployment's model, and the other models that responses may name."""

    object: Literal["list"]
    data: list[ListedModelView]
    first_id: str | None
    last_id: str | None
    has_more: bool
