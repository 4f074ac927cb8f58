"""The API's views of a task's progress, its bill and its gaps."""

from typing import Annotated, NotRequired, TypedDict

from pydantic import Field

from ...core import task as core
from ...core.codes import TaskCode
from ...core.structure import Gap
from ..base.views import Count, shown


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
    did not fit, `rejected` answers without a usable output, and `repaired` outputs that were repaired.
    """

    modelCalls: Count
    minimumCalls: Count
    inDoubt: Count
    inputTokens: Count
    outputTokens: Count
    reasks: NotRequired[Count]
    rejected: NotRequired[Count]
    repaired: NotRequired[Count]


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


def progress_view(task: core.Task) -> ProgressView:
    """Show how far a task has progressed."""
    total = task.total or None  # 0 while the file of a batch is being read
    return ProgressView(total=total, completed=task.completed, failed=task.failed, truncated=task.truncated)


def usage_view(task: core.Task) -> UsageView:
    """Show a bill."""
    usage = task.usage
    view = UsageView(
        modelCalls=usage.model_calls,
        minimumCalls=usage.minimum_calls,
        inDoubt=usage.in_doubt,
        inputTokens=usage.input_tokens,
        outputTokens=usage.output_tokens,
    )
    if has_schema(task):
        view["reasks"], view["rejected"], view["repaired"] = usage.reasks, usage.rejected, usage.repaired
    return view


def covered(task: core.Task) -> float:
    """Return the share of the text that is not in gaps, from 0 to 1."""
    return 1.0 if task.coverage is None else task.coverage


def gap_view(gap: Gap) -> GapView:
    """Show a gap."""
    return GapView(chunk=gap.chunk, start=gap.start, end=gap.end, code=gap.code)
