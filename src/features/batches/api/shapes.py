"""The models of the answers of `/v1/batches`, such as OpenAI's Batch object."""

from collections.abc import Mapping
from typing import Annotated, Literal, NotRequired, TypedDict

from pydantic import Field

from ....kernel.api.base.views import CostView, Count, shown
from ....kernel.domain import limits
from ....kernel.domain.ids import BATCH_ID_PATTERN, FILE_ID_PATTERN
from ..lines.lines import BatchEndpoint
from ..status import BatchStatus

Anything = object
_BatchId = Annotated[str, Field(json_schema_extra={"pattern": f"^{BATCH_ID_PATTERN}$"})]
_FileId = Annotated[str, Field(json_schema_extra={"pattern": f"^{FILE_ID_PATTERN}$"})]


@shown
class BatchErrorView(TypedDict):
    """Why the batch failed: a fault of a line, or a cause that concerns the whole batch and has no `line`."""

    code: str
    line: Annotated[int, Field(ge=1)] | None
    message: str
    param: str | None


@shown
class BatchErrorsView(TypedDict):
    """Why the batch failed. Of many faults, the first are listed."""

    object: Literal["list"]
    data: Annotated[list[BatchErrorView], Field(max_length=limits.BATCH_ERRORS_MOST)]


@shown
class RequestCountsView(TypedDict):
    """How many lines the batch has, and how many have an answer or failed. `total` is 0 while the file is checked."""

    total: Count
    completed: Count
    failed: Count


@shown
class InputDetailsView(TypedDict):
    """Details of the input tokens. `cached_tokens` are those that the provider had in its cache."""

    cached_tokens: Count


@shown
class OutputDetailsView(TypedDict):
    """Details of the output tokens. They are 0, because the service does not count reasoning separately."""

    reasoning_tokens: Count


@shown
class BatchUsageView(TypedDict):
    """The tokens of all lines that have an answer."""

    input_tokens: Count
    input_tokens_details: InputDetailsView
    output_tokens: Count
    output_tokens_details: OutputDetailsView
    total_tokens: Count


@shown
class CallsBillView(TypedDict):
    """The bill. `modelCalls` counts every call that was sent, `inDoubt` those of them without an answer.

    `minimumCalls` is the number of lines, and 0 while the file is checked. `cost` is null if the model has no price.
    """

    modelCalls: Count
    minimumCalls: Count
    inDoubt: Count
    cost: CostView | None


@shown
class BatchOnceoverView(TypedDict):
    """What OpenAI's API lacks: the path of the batch's task in the native API, and the bill of calls.

    `retryOf` is set for a batch that makes the lines without an answer of another batch.
    """

    task: str
    usage: CallsBillView
    retryOf: NotRequired[_BatchId]


@shown
class BatchView(TypedDict):
    """A batch. Times are seconds since the epoch, and null for what has not happened.

    `output_file_id` is set from `in_progress` on, because the file can be read while it grows. After the end it is null
    if no line has an answer. `error_file_id` is set after the end, if lines failed.

    A list of all tenants' batches shows the `tenant` of each.
    """

    id: _BatchId
    object: Literal["batch"]
    endpoint: BatchEndpoint
    model: str | None
    errors: BatchErrorsView | None
    input_file_id: _FileId
    completion_window: str
    status: BatchStatus
    output_file_id: _FileId | None
    error_file_id: _FileId | None
    created_at: Count
    in_progress_at: Count | None
    expires_at: Count | None
    finalizing_at: Count | None
    completed_at: Count | None
    failed_at: Count | None
    expired_at: Count | None
    cancelling_at: Count | None
    cancelled_at: Count | None
    request_counts: RequestCountsView
    usage: BatchUsageView
    metadata: Mapping[str, Anything]
    onceover: BatchOnceoverView
    tenant: NotRequired[str]


@shown
class BatchListView(TypedDict):
    """A page of the tenant's batches, newest first."""

    object: Literal["list"]
    data: list[BatchView]
    first_id: _BatchId | None
    last_id: _BatchId | None
    has_more: bool
