"""Tasks and chunks as the API shows them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from ..core import task as core
from . import schemas

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(milliseconds: int) -> str:
    """Show a time in UTC, with milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def task_path(task_id: str) -> str:
    """Return the path of a task."""
    return f"/api/tasks/{task_id}"


def task_view(task: core.Task) -> schemas.TaskView:
    """Show a task."""
    here = task_path(task.id)
    return schemas.TaskView(
        id=task.id,
        status=task.status,
        terminal=task.status.terminal,
        route=task.route,
        progress=schemas.ProgressView(total=task.total, completed=task.completed, failed=task.failed),
        result=_result_view(task.result),
        error=_failure_view(task.failure),
        usage=_usage_view(task.usage),
        attempts=task.attempts,
        metadata=task.metadata,
        createdAt=rfc3339(task.created_at),
        startedAt=_time(task.started_at),
        finishedAt=_time(task.finished_at),
        expiresAt=_time(task.expires_at),
        deadlineAt=_time(task.deadline_at),
        maxModelCalls=task.max_calls,
        links=schemas.LinksView(self=here, chunks=f"{here}/chunks", cancel=f"{here}/cancel"),
    )


def task_with_chunks_view(task: core.Task, chunks: Sequence[core.ChunkView]) -> schemas.TaskWithChunksView:
    """Show a task with its finished chunks."""
    return {**task_view(task), "chunks": [chunk_view(chunk) for chunk in chunks]}


def chunk_view(chunk: core.ChunkView) -> schemas.ChunkView:
    """Show a finished chunk."""
    return schemas.ChunkView(
        index=chunk.index,
        start=chunk.start,
        end=chunk.end,
        status="completed" if chunk.failure is None else "failed",
        output=chunk.output,
        attempts=chunk.attempts,
        error=_failure_view(chunk.failure),
    )


def _usage_view(usage: core.Usage) -> schemas.UsageView:
    return schemas.UsageView(
        modelCalls=usage.model_calls,
        minimumCalls=usage.minimum_calls,
        inDoubt=usage.in_doubt,
        inputTokens=usage.input_tokens,
        outputTokens=usage.output_tokens,
    )


def _result_view(result: str | tuple[str, ...] | None) -> schemas.ResultView | None:
    if result is None:
        return None
    return schemas.ResultView(output=result if isinstance(result, str) else list(result))


def _failure_view(failure: core.Failure | None) -> schemas.FailureView | None:
    if failure is None:
        return None
    return schemas.FailureView(code=failure.code, message=failure.message, retryable=failure.retryable)


def _time(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else rfc3339(milliseconds)
