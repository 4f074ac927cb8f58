"""Shows a task as OpenAI's whole Response object, because strict clients expect every field of it."""

from collections.abc import Mapping
from typing import Literal, cast

from ...kernel.api.base.services import Api
from ...kernel.api.base.views import failure_view, maybe_rfc3339
from ...kernel.api.tasks import views
from ...kernel.api.tasks.waiting_for import last_error_view, wait_view, waiting_for
from ...kernel.domain import task as core
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.ids import split_task_key
from ...kernel.domain.task import Status
from . import shapes
from .shapes import OnceoverView, OutputMessageView, ResponseStatus, ResponseView, message_id, response_id

_STATUSES: Mapping[Status, ResponseStatus] = {
    Status.PENDING: "queued",
    Status.PROCESSING: "in_progress",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
_RATE_LIMITS = frozenset({TaskCode.MODEL_RATE_LIMITED, TaskCode.MODEL_QUOTA_EXHAUSTED})
# OpenAI's defaults of `temperature` and `top_p`, which a response shows if its request gave none.
_TEMPERATURE, _TOP_P = 1.0, 1.0
_FORMAT_NAME = "output"  # the shown name of a schema that the client sent without a name


def response_view(task: core.Task, api: Api) -> ResponseView:
    """Show a task that came from `/v1` as a response. A large result is left out: the response's text is empty."""
    asked, options = task.options.response, task.options.model_options
    assert asked is not None
    assert task.source is not None
    completed_at = task.finished_at if task.status is Status.COMPLETED else None
    shows = {
        "id": response_id(task.id),
        "object": "response",
        "created_at": task.created_at // 1000,
        "status": status_of(task),
        "background": True,
        "completed_at": None if completed_at is None else completed_at // 1000,
        "error": _error(task.failure),
        "incomplete_details": _incomplete(task),
        "instructions": task.source.instructions if asked.get("instructions") else None,
        "max_output_tokens": task.options.max_output_tokens,
        "metadata": task.options.metadata,
        "model": task.options.model or api.provider.default_model,
        "output": output_view(task),
        "parallel_tool_calls": True,
        "reasoning": shapes.ReasoningView(effort=cast("str | None", options.get("reasoning_effort")), summary=None),
        "service_tier": "default",
        "store": asked["store"],
        "temperature": _TEMPERATURE if task.options.temperature is None else task.options.temperature,
        "text": _text_view(task),
        "tool_choice": asked["tool_choice"],
        "tools": [],
        "top_logprobs": 0,
        "top_p": _TOP_P if options.get("top_p") is None else options["top_p"],
        "truncation": "disabled",
        "usage": _usage(task),
        "onceover": _onceover(task, api),
    }
    # The fields of the answer have the order of the API's description. Some of OpenAI's have no value here.
    order = ResponseView.__annotations__.items()
    return cast("ResponseView", {name: None if kind is shapes.Nothing else shows[name] for name, kind in order})


def status_of(task: core.Task) -> ResponseStatus:
    """Return the status of a task in OpenAI's words."""
    return "incomplete" if _is_incomplete(task) else _STATUSES[task.status]


def output_view(task: core.Task) -> list[OutputMessageView]:
    """Show the output: one message with one text if the task has completed, else nothing."""
    if task.status is not Status.COMPLETED:
        return []
    assert not isinstance(task.result, tuple)  # `/v1/responses` accepts no `reduce: none`
    text = shapes.OutputTextView(type="output_text", text=task.result or "", annotations=[], logprobs=[])
    status: Literal["completed", "incomplete"] = "incomplete" if _is_incomplete(task) else "completed"
    message = OutputMessageView(id=message_id(task.id), type="message", status=status, role="assistant", content=[text])
    return [message]


def _is_incomplete(task: core.Task) -> bool:
    return task.status is Status.COMPLETED and (task.truncated > 0 or task.failed > 0)


def _incomplete(task: core.Task) -> shapes.IncompleteDetailsView | None:
    """Return why the response is incomplete, None if it is complete: outputs were cut off, or chunks left gaps."""
    if not _is_incomplete(task):
        return None
    reasons = {gap.finish_reason for gap in task.gaps}
    if task.filtered or core.CONTENT_FILTER in reasons:
        return shapes.IncompleteDetailsView(reason="content_filter")
    was_cut = task.truncated > 0 or any(map(core.is_truncated, reasons))
    return shapes.IncompleteDetailsView(reason="max_output_tokens" if was_cut else None)


def _error(failure: core.Failure | None) -> shapes.ResponseErrorView | None:
    if failure is None:
        return None
    is_limit = failure.code in _RATE_LIMITS
    return shapes.ResponseErrorView(code="rate_limit_exceeded" if is_limit else "server_error", message=failure.message)


def _usage(task: core.Task) -> shapes.TokensView | None:
    if not task.status.terminal:
        return None
    tokens = task.usage
    return shapes.TokensView(
        input_tokens=tokens.input_tokens,
        input_tokens_details=shapes.InputTokensDetailsView(cached_tokens=tokens.cached_tokens, cache_write_tokens=0),
        output_tokens=tokens.output_tokens,
        output_tokens_details=shapes.OutputTokensDetailsView(reasoning_tokens=0),
        total_tokens=tokens.input_tokens + tokens.output_tokens,
    )


def _onceover(task: core.Task, api: Api) -> OnceoverView:
    kept_ms = api.settings.retention_ms
    own_ms = task.options.retention_ms
    view = OnceoverView(
        progress=views.progress_view(task),
        waitingFor=wait_view(waiting_for(task, api)),
        usage=views.usage_view(task, api),
        error=failure_view(task.failure),
        lastError=last_error_view(task.last_error),
        reduce=task.options.reduce,
        deadlineAt=maybe_rfc3339(task.deadline_at),
        expiresAt=maybe_rfc3339(task.expires_at),
        retentionSeconds=(kept_ms if own_ms is None else min(kept_ms, own_ms)) // 1000,
        task=views.task_path(task.id),
    )
    view = cast("OnceoverView", {**view, **task.options.extras})
    structure = task.options.structure
    if structure is not None and structure.gaps:
        view["gaps"] = [views.gap_view(gap) for gap in task.gaps]
        view["coverage"] = views.covered(task)
    if views.has_quotes(task) and task.status is Status.COMPLETED:
        view["quotes"] = views.quotes_view(task.quotes)
    if task.retry_of is not None:
        view["retryOf"] = response_id(split_task_key(task.retry_of)[1])
    return view


def _text_view(task: core.Task) -> shapes.TextView:
    """Show the form of a response's output. A key without the scope `read` sees an empty schema."""
    structure, source = task.options.structure, task.source
    if structure is None or source is None or not views.has_schema(task):
        return shapes.TextView(format=shapes.TextFormatView(type="text"), verbosity="medium")
    shown = shapes.SchemaFormatView(
        type="json_schema",
        name=structure.name or _FORMAT_NAME,
        description=None,
        schema=dict(source.output_schema or {}),
        strict=structure.strict,
    )
    return shapes.TextView(format=shown, verbosity="medium")
