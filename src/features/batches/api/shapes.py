"""The models of the answers of `/v1/batches`. A batch has each field of OpenAI's Batch object, for strict clients."""

from collections.abc import Mapping
from typing import Annotated, Literal, NotRequired, TypedDict, cast

from pydantic import Field

from ....kernel.api.base.services import Api
from ....kernel.api.base.views import CostView, Count, shown
from ....kernel.api.tasks.views import cost_view, task_path
from ....kernel.domain import limits
from ....kernel.domain.codes import TaskCode
from ....kernel.domain.ids import BATCH_ID_PATTERN, FILE_ID_PATTERN, batch_id, file_id, split_task_key
from ..lines.lines import BatchEndpoint
from ..status import BatchStatus
from ..store.batches import Batch

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


_CANCELLED = frozenset({BatchStatus.CANCELLING, BatchStatus.CANCELLED})


def batch_view(batch: Batch, api: Api, *, may_read: bool = True) -> BatchView:
    """Show a batch. A caller without the scope `read` sees neither its metadata nor its faults, which quote lines."""
    task, status, counts = batch.task, batch.status, batch.counts
    was_cancelled = status in _CANCELLED
    onceover = BatchOnceoverView(
        task=task_path(task.id),
        usage=CallsBillView(
            modelCalls=task.usage.model_calls,
            minimumCalls=task.usage.minimum_calls,
            inDoubt=task.usage.in_doubt,
            cost=cost_view(task, api, batch.model),
        ),
    )
    if task.retry_of is not None:
        onceover["retryOf"] = batch_id(split_task_key(task.retry_of)[1])
    writes_files = batch.valid_at is not None and not was_cancelled
    return BatchView(
        id=batch_id(task.id),
        object="batch",
        endpoint=batch.endpoint,
        model=batch.model,
        errors=_errors(batch) if may_read else None,
        input_file_id=file_id(batch.input_file),
        completion_window=f"{batch.window_ms // 3_600_000}h",
        status=status,
        output_file_id=file_id(batch.output_file) if batch.has_output_file else None,
        error_file_id=file_id(batch.error_file) if batch.has_error_file else None,
        created_at=task.created_at // 1000,
        in_progress_at=_seconds(batch.valid_at),
        expires_at=_seconds(task.deadline_at),
        finalizing_at=_seconds(batch.finalizing_at) if writes_files else None,
        completed_at=_ended(batch, BatchStatus.COMPLETED),
        failed_at=_ended(batch, BatchStatus.FAILED),
        expired_at=_ended(batch, BatchStatus.EXPIRED),
        cancelling_at=_seconds(task.finished_at) if was_cancelled else None,
        cancelled_at=_ended(batch, BatchStatus.CANCELLED),
        request_counts=RequestCountsView(total=counts.total, completed=counts.completed, failed=counts.failed),
        usage=_usage(batch),
        metadata=task.options.metadata if may_read else {},
        onceover=onceover,
    )


def _errors(batch: Batch) -> BatchErrorsView | None:
    """Show why a batch failed: the faults of its lines, or why its task failed."""
    if batch.status is not BatchStatus.FAILED:
        return None
    found = [cast("BatchErrorView", dict(error)) for error in batch.errors[: limits.BATCH_ERRORS_MOST]]
    failure = batch.task.failure
    if failure is not None and (failure.code != TaskCode.INVALID_BATCH or not found):
        found = [BatchErrorView(code=failure.code, line=None, message=failure.message, param=None)]
    return BatchErrorsView(object="list", data=found)


def _usage(batch: Batch) -> BatchUsageView:
    tokens = batch.task.usage
    return BatchUsageView(
        input_tokens=tokens.input_tokens,
        input_tokens_details=InputDetailsView(cached_tokens=tokens.cached_tokens),
        output_tokens=tokens.output_tokens,
        output_tokens_details=OutputDetailsView(reasoning_tokens=0),
        total_tokens=tokens.input_tokens + tokens.output_tokens,
    )


def _ended(batch: Batch, status: BatchStatus) -> int | None:
    return _seconds(batch.ended_at) if batch.status is status else None


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else milliseconds // 1000
