"""Changes many tasks at once: bodies and handlers of `POST /api/tasks/retry` and `POST /api/tasks/cancel`."""

import asyncio
from collections.abc import Mapping
from functools import partial
from itertools import batched, islice
from math import ceil
from typing import Annotated, Final, Literal, NotRequired, TypedDict

from pydantic import Field

from ...kernel.api.base import fields as queries
from ...kernel.api.base.endpoint import Answer, Endpoint, Parameter
from ...kernel.api.base.exchange import EVERYONE, Exchange, Reach
from ...kernel.api.base.fields import Asked, checked, read_object
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.problems import DATABASE_UNAVAILABLE, Refusal
from ...kernel.api.base.services import Api
from ...kernel.api.base.views import Count, shown
from ...kernel.api.tasks import across
from ...kernel.api.tasks.submission import limit_reached
from ...kernel.domain import limits
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.ids import TaskKey
from ...kernel.domain.keys import Scope
from ...kernel.domain.task import Status
from ...kernel.store.admission import LimitReached
from ...kernel.store.rows import Span
from .bulk import BulkChange
from .store import BulkStore

_Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_TOLD_AT_ONCE = 6  # platform: how many connections of one invocation may wait for their answer's headers at once
_SUBREQUESTS_KEPT = 2
_STILL_STARTING = (
    "The tasks are cancelled. The database is slow, so calls announced earlier may still start for a short time."
)


class BulkFields(Asked):
    """The choice of tasks. A field that is null counts as absent."""

    created_after: _Moment | None = Field(None, description="Only tasks created after this time.")
    created_before: _Moment | None = Field(None, description="Only tasks created before this time.")
    dry_run: bool | None = Field(None, description="`true` counts, and changes nothing.")

    def span(self, tenant: str) -> Span:
        """Return the span of the tenant's tasks created in the requested time. Raises Refusal (422) for a bad time."""
        return queries.created_span(tenant, self.model_dump(by_alias=True, exclude_none=True))


class BulkRetryFields(BulkFields):
    """The body of `POST /api/tasks/retry`: which failed tasks to retry. A field that is null counts as absent."""

    error_code: Annotated[TaskCode, Field(strict=False)] | None = Field(
        None,
        description="Only tasks that failed with this code. `budget_exhausted` is refused: retry such a task on its "
        "own, with a larger budget.",
    )


class BulkCancelFields(BulkFields):
    """The body of `POST /api/tasks/cancel`: which unfinished tasks to cancel. A field that is null counts as absent."""

    status: Literal["pending", "processing"] | None = Field(None, description="Only tasks of this status.")

    @property
    def wanted(self) -> Status | None:
        """The status that the request names, None if it names none."""
        return None if self.status is None else Status(self.status)


@shown
class BulkRetryPlanView(TypedDict):
    """The plan of a bulk retry: how many failed tasks, and the least and the most calls that they would make.

    `maximumCalls` has MAX_ATTEMPTS calls for each output that is missing, and AI_REASKS more for one that must fit a
    schema, within each task's `maxModelCalls`. It does not include calls that fail for a cause of the service (429,
    5xx, timeouts, no connection, a model that is away). Such calls are additional, and only `maxModelCalls` limits
    them. The plan counts at most 10,000 tasks; `more` is true if there are more. With `tenant=*` the figures are those
    of the tenant that `tenant` names. `nextCursor` then leads to the next tenant, and is null after the last one.
    """

    tasks: Count
    minimumCalls: Count
    maximumCalls: Count
    more: bool
    tenant: NotRequired[str | None]
    nextCursor: NotRequired[str | None]


@shown
class BulkRetryView(TypedDict):
    """How many failed tasks a bulk retry has retried, at most 100. While `more` is true, repeat the request.

    With `tenant=*` the figures are those of the tenant that `tenant` names. `limit` names a limit that this tenant has
    reached. `nextCursor` leads to the next tenant, and is null after the last one.
    """

    retried: Count
    more: bool
    limit: NotRequired[str]
    tenant: NotRequired[str | None]
    nextCursor: NotRequired[str | None]


@shown
class BulkCancelPlanView(TypedDict):
    """How many tasks a bulk cancellation would end. At most 10,000 are counted; `more` is true if there are more.

    With `tenant=*` the figures are those of the tenant that `tenant` names. `nextCursor` then leads to the next tenant,
    and is null after the last one.
    """

    tasks: Count
    more: bool
    tenant: NotRequired[str | None]
    nextCursor: NotRequired[str | None]


@shown
class BulkCancelView(TypedDict):
    """How many tasks a bulk cancellation has cancelled, at most 100. While `more` is true, repeat the request.

    With `tenant=*` the figures are those of the tenant that `tenant` names. `nextCursor` then leads to the next tenant,
    and is null after the last one.
    """

    cancelled: Count
    more: bool
    tenant: NotRequired[str | None]
    nextCursor: NotRequired[str | None]


async def retry_tasks(exchange: Exchange) -> Reply:
    """Retry failed tasks, or with `dryRun` only count them."""
    fields = checked(BulkRetryFields, await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST))
    if fields.error_code in {TaskCode.BUDGET_EXHAUSTED, TaskCode.COST_EXHAUSTED}:
        budget = "maxCost" if fields.error_code is TaskCode.COST_EXHAUSTED else "maxModelCalls"
        message = f"must not be {fields.error_code}: retry such a task on its own, with a larger {budget}"
        raise queries.refused("errorCode", message)
    if fields.dry_run:
        none = BulkRetryPlanView(tasks=0, minimumCalls=0, maximumCalls=0, more=False)
        return json_reply(200, await across.act_on_each(exchange, partial(_plan_retry, exchange, fields), none))
    nothing = BulkRetryView(retried=0, more=False)
    return json_reply(202, await across.act_on_each(exchange, partial(_retry, exchange, fields), nothing))


async def _plan_retry(exchange: Exchange, fields: BulkRetryFields, tenant: str) -> across.ActResult:
    api = exchange.api
    most = api.settings.max_attempts, api.settings.reasks
    cost = await api.store.beside(BulkStore).retry_cost(fields.span(tenant), fields.error_code, *most)
    plan = BulkRetryPlanView(
        tasks=cost.tasks,
        minimumCalls=cost.minimum_calls,
        maximumCalls=cost.maximum_calls,
        more=cost.tasks >= limits.BULK_COUNT_MOST,
    )
    return across.ActResult(plan, ends=cost.tasks > 0)


async def _retry(exchange: Exchange, fields: BulkRetryFields, tenant: str) -> across.ActResult:
    done = await BulkChange(exchange.api.submission).retry(tenant, fields.span(tenant), fields.error_code)
    if not isinstance(done, LimitReached):
        view = BulkRetryView(retried=done.tasks, more=done.more)
        return across.ActResult(view, ends=done.tasks > 0 or done.more, again=done.tasks > 0 and done.more)
    if exchange.acting.whose != EVERYONE:
        raise limit_reached(done.limit, exchange.api)
    # If the tenant has reached its limit, the answer has a cursor, because the next tenant may be below its own limit.
    return across.ActResult(BulkRetryView(retried=0, more=True, limit=done.limit), ends=True)


async def cancel_tasks(exchange: Exchange) -> Reply:
    """Cancel unfinished tasks, or with `dryRun` count them. No call of a cancelled task starts after the answer."""
    ends_at = asyncio.get_running_loop().time() + limits.CANCEL_SECONDS_MOST
    fields = checked(BulkCancelFields, await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST))
    if fields.dry_run:
        none = BulkCancelPlanView(tasks=0, more=False)
        return json_reply(200, await across.act_on_each(exchange, partial(_plan_cancel, exchange.api, fields), none))
    nothing, act = BulkCancelView(cancelled=0, more=False), partial(_cancel, exchange.api, fields, ends_at)
    return json_reply(202, await across.act_on_each(exchange, act, nothing))


async def _plan_cancel(api: Api, fields: BulkCancelFields, tenant: str) -> across.ActResult:
    tasks = await api.store.beside(BulkStore).count_going_on(tenant, fields.span(tenant), fields.wanted)
    return across.ActResult(BulkCancelPlanView(tasks=tasks, more=tasks >= limits.BULK_COUNT_MOST), ends=tasks > 0)


async def _cancel(api: Api, fields: BulkCancelFields, ends_at: float, tenant: str) -> across.ActResult:
    done = await BulkChange(api.submission).cancel(tenant, fields.span(tenant), fields.wanted)
    held = done.starting_ms / 1000
    late = asyncio.get_running_loop().time() + held > ends_at
    telling = _tell_objects(api, done.objects, ends_at - limits.TELL_SECONDS)
    await asyncio.gather(asyncio.sleep(0.0 if late else held), telling)
    if late:
        raise Refusal(DATABASE_UNAVAILABLE, _STILL_STARTING, headers={"Retry-After": str(ceil(held))})
    view = BulkCancelView(cancelled=done.tasks, more=done.more)
    return across.ActResult(view, ends=done.tasks > 0 or done.more, again=done.more)


async def _tell_objects(api: Api, fences: Mapping[TaskKey, int], until: float) -> None:
    """Tell objects that their tasks have ended, until `until`, while subrequests are left; others check."""
    left = api.settings.subrequests - api.submission.meter.subrequests_taken - _SUBREQUESTS_KEPT
    for batch in batched(islice(fences.items(), max(0, left)), _TOLD_AT_ONCE):
        if asyncio.get_running_loop().time() >= until:
            return
        await asyncio.gather(*(api.tell_object(task_key, fence) for task_key, fence in batch))


_CURSOR: Final = (
    Parameter(
        "cursor",
        "With `tenant=*`: the `nextCursor` of the previous answer.",
        {"type": "string", "pattern": f"^{across.CURSOR_PATTERN}$"},
    ),
)

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/tasks/retry",
        summary="Retry up to 100 failed tasks from their finished chunks, or count them",
        handler=retry_tasks,
        access=Scope.WRITE,
        reach=Reach.EACH,
        parameters=_CURSOR,
        body=BulkRetryFields,
        answers=(
            Answer(200, "With `dryRun`: how many tasks and calls it would be", (BulkRetryPlanView,)),
            Answer(202, "Retried", (BulkRetryView,)),
        ),
    ),
    Endpoint(
        method="POST",
        path="/api/tasks/cancel",
        summary="Cancel up to 100 unfinished tasks, or count them; none of them starts a model call afterwards",
        handler=cancel_tasks,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        reach=Reach.EACH,
        parameters=_CURSOR,
        body=BulkCancelFields,
        answers=(
            Answer(200, "With `dryRun`: how many tasks there are", (BulkCancelPlanView,)),
            Answer(202, "Cancelled", (BulkCancelView,)),
        ),
    ),
)
