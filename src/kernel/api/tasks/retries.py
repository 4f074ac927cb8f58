"""`POST /api/tasks/{id}/retry`: its body, its handler, and its refusals."""

from dataclasses import replace
from typing import Annotated, Final

from pydantic import Field

from ...domain import limits
from ...domain.keys import Scope
from ...domain.prices import written
from ...domain.task import BUDGET_EXHAUSTED, COST_EXHAUSTED, Status, Task, calls_left
from ...run.waits import OVERDUE
from ...store.admission import Limit
from ..base.endpoint import OF_TASK, Answer, Endpoint
from ..base.exchange import Exchange, Reach
from ..base.fields import Asked, MaxCost, Whole, amount, checked, read_object, refused
from ..base.messages import Reply
from ..base.problems import BUDGET_SPENT, COST_SPENT, FILES_FULL, FILES_UNAVAILABLE, NOT_RETRYABLE, Refusal
from ..base.services import Api
from ..follow import wait
from .submission import accepted_reply, limit_reached
from .views import WholeTaskView


class RetryFields(Asked):
    """The optional body of a retry."""

    max_model_calls: Annotated[int, Field(ge=1, le=limits.MODEL_CALLS_MOST), Whole] | None = Field(
        None,
        description="A new budget: the most calls of all attempts together. It must cover the calls already made and "
        "those still needed without failures. Without it the old budget stays. "
        "A retry of gaps has made no calls yet. A retry of a batch is a new batch: without this field it has no "
        "budget, and a budget must cover the lines without an answer.",
    )
    max_cost: MaxCost | None = Field(
        None,
        description="A new `maxCost`, for all attempts together. Without it the old one stays; a new batch has none.",
    )


def not_retryable(task: Task, max_calls: int | None, api: Api) -> Refusal:
    """Make the refusal that says why a task was not retried."""
    if task.status not in {Status.FAILED, Status.CANCELLED}:
        only = "Only a failed or cancelled task, or a completed one with gaps, can be retried."
        return Refusal(NOT_RETRYABLE, f"The task is {task.status}. {only}")
    spent, left = task.usage.model_calls, calls_left(task.total, task.completed, task.options.reduce)
    old = task.options.max_calls
    ran_out = task.failure is not None and task.failure.code == BUDGET_EXHAUSTED
    if ran_out and (max_calls is None or (old is not None and max_calls <= old)):
        detail = f"The task has made {spent} calls and needs at least {left} more. Set a larger maxModelCalls."
        return Refusal(BUDGET_SPENT, detail)
    if max_calls is not None and max_calls < spent + left:
        message = f"must be at least {spent + left}: {spent} calls are spent, and at least {left} more are needed"
        return refused("maxModelCalls", message)
    if task.failure is not None and task.failure.code == COST_EXHAUSTED:
        detail = f"The calls have cost {written(task.usage.cost or 0)} dollars. Set a larger maxCost."
        return Refusal(COST_SPENT, detail)
    if api.settings.tasks_in_flight_most is not None:
        return limit_reached(Limit.TASKS_IN_FLIGHT, api)
    return Refusal(NOT_RETRYABLE, f"The task is {task.status}. Another request changed it just now.")


async def retry_task(exchange: Exchange) -> Reply:
    """Retry a failed or cancelled task, perhaps with a new budget. A task that is retried keeps its finished chunks.

    A completed task does not change: a new task processes its gaps. A retry of a batch is a new batch of the lines
    without an answer.
    """
    body = await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST, optional=True)
    wanted = checked(RetryFields, body)
    max_calls, max_cost = wanted.max_model_calls, amount(wanted.max_cost)
    api, key = exchange.api, exchange.task_key
    accepted = await api.submission.retry(key, max_calls, max_cost)
    if accepted is None:
        task = await wait.found(api.store, key)
        if task.overdue:  # the task's deadline has passed, and no write has failed it yet
            await api.store.expire([key], OVERDUE, api.settings.retention_ms)
            accepted = await api.submission.retry(key, max_calls, max_cost)
    if accepted is None:
        for kind in api.kind_apis():
            if (reply := await kind.retry(exchange, task, max_calls, max_cost)) is not None:
                return reply
        raise not_retryable(await wait.found(api.store, key), max_calls, api)
    api.log("retried", task=key, max_calls=max_calls)
    route = await api.dispatcher.dispatch(key, crowded=accepted.crowded)
    task = await wait.found(api.store, key)
    task = replace(task, news_at=task.read_at)  # the answer's `Retry-After` counts from the retry
    if route is not None and task.status is Status.PENDING:
        task = replace(task, route=route)
    return await accepted_reply(exchange, task)


ENDPOINTS: Final = (
    Endpoint(
        method="POST",
        path="/api/tasks/{id}/retry",
        summary="Retry a failed or cancelled task from its finished chunks; a completed one's gaps, or a batch's lines "
        "without an answer, as a new task",
        handler=retry_task,
        access=Scope.WRITE,
        reach=Reach.ONE,
        body=RetryFields,
        body_optional=True,
        answers=(
            Answer(202, "Accepted", (WholeTaskView,), ("Location", "Retry-After", "Idempotency-Replayed"), OF_TASK),
        ),
        problems=(NOT_RETRYABLE, BUDGET_SPENT, COST_SPENT, FILES_FULL, FILES_UNAVAILABLE),
    ),
)
