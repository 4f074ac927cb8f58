"""The body of `POST /api/tasks/{id}/retry`, and why a task is not put back."""

from typing import Annotated

from pydantic import Field

from ..core import limits
from ..core.states import Status
from ..core.task import BUDGET_EXHAUSTED, Task, calls_left
from ..store.admission import Limit
from .conditions import limit_reached
from .fields import Asked, Whole
from .problems import BUDGET_SPENT, NOT_RETRYABLE, FieldError, Refusal, field_refusal
from .services import Api

_ENDED_BADLY = frozenset({Status.FAILED, Status.CANCELLED})


class RetryFields(Asked):
    """The body of a retry, which may be left out."""

    max_model_calls: Annotated[int, Field(ge=1, le=limits.MODEL_CALLS_MOST), Whole] | None = Field(
        None,
        description="A new budget: the most calls of all attempts together. At least what is spent, and what is left "
        "when nothing fails. Without it the old one stays.",
    )


def not_retryable(task: Task, max_calls: int | None, api: Api) -> Refusal:
    """Say why a task was not put back."""
    if task.status not in _ENDED_BADLY:
        return Refusal(NOT_RETRYABLE, f"The task is {task.status}; only a failed or cancelled one can go on.")
    spent, left = task.usage.model_calls, calls_left(task.total, task.completed, task.options.reduce)
    old = task.options.max_calls
    ran_out = task.failure is not None and task.failure.code == BUDGET_EXHAUSTED
    if ran_out and (max_calls is None or (old is not None and max_calls <= old)):
        detail = f"The task has made {spent} calls, and needs {left} more at least: give it a larger maxModelCalls."
        return Refusal(BUDGET_SPENT, detail)
    if max_calls is not None and max_calls < spent + left:
        message = f"must be at least {spent + left}: {spent} calls are spent, and {left} more are needed at least"
        return field_refusal([FieldError("maxModelCalls", message)])
    if api.settings.tasks_in_flight_most is not None:
        return limit_reached(Limit.TASKS_IN_FLIGHT, api)
    return Refusal(NOT_RETRYABLE, f"The task is {task.status}, and was changed by another request just now.")
