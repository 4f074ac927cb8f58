"""Shows a batch as OpenAI's whole Batch object, because strict clients expect every field of it."""

from typing import cast

from ....kernel.api.base.services import Api
from ....kernel.api.tasks.views import cost_view, task_path
from ....kernel.domain import limits
from ....kernel.domain.codes import TaskCode
from ....kernel.domain.ids import batch_id, file_id, split_task_key
from ..status import BatchStatus
from ..store.batches import Batch
from .shapes import (
    BatchErrorsView,
    BatchErrorView,
    BatchOnceoverView,
    BatchUsageView,
    BatchView,
    CallsBillView,
    InputDetailsView,
    OutputDetailsView,
    RequestCountsView,
)

_HOUR_MS = 3_600_000
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
        completion_window=f"{batch.window_ms // _HOUR_MS}h",
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
