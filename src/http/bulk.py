"""Many tasks at once: the bodies and the handlers of `POST /api/tasks/retry` and `POST /api/tasks/cancel`."""

import asyncio
from collections.abc import Mapping
from itertools import batched, islice
from math import ceil
from typing import Annotated, Literal, TypedDict

from pydantic import Field

from ..core import limits
from ..core.codes import TaskCode
from ..core.ids import TaskKey
from ..core.keys import Scope
from ..core.states import Status
from ..processing.bulk import Bulk
from ..store.admission import Refused
from ..store.pages import Span
from . import problems, queries
from .bodies import read_object
from .conditions import limit_reached
from .endpoint import Answer, Endpoint
from .exchange import Exchange
from .fields import Asked, checked
from .messages import Reply, json_reply
from .problems import DATABASE_UNAVAILABLE, FieldError, Refusal, field_refusal
from .services import Api
from .views import Count, shown

_Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
_TOLD_AT_ONCE = 6  # platform: connections of one invocation that may wait for their headers
_SUBREQUESTS_KEPT = 2
_STILL_STARTING = (
    "The tasks are cancelled. The database is slow, and calls that were announced before may still start for a while."
)


class BulkFields(Asked):
    """Which tasks. A field that is null counts as absent."""

    created_after: _Moment | None = Field(None, description="Only tasks created after this time.")
    created_before: _Moment | None = Field(None, description="Only tasks created before this time.")
    dry_run: bool | None = Field(None, description="`true` counts, and changes nothing.")

    def span(self, tenant: str) -> Span:
        """The tenant's tasks of that time. Raises Refusal (422)."""
        times: Mapping[str, str | None] = {"createdAfter": self.created_after, "createdBefore": self.created_before}
        return queries.created_span(tenant, {name: time for name, time in times.items() if time is not None})


class BulkRetryFields(BulkFields):
    """The body of `POST /api/tasks/retry`: which failed tasks. A field that is null counts as absent."""

    error_code: Annotated[TaskCode, Field(strict=False)] | None = Field(
        None,
        description="Only tasks that failed with this code. Not `budget_exhausted`: such a task is put back on its "
        "own, with a larger budget.",
    )


class BulkCancelFields(BulkFields):
    """The body of `POST /api/tasks/cancel`: which tasks that go on. A field that is null counts as absent."""

    status: Literal["pending", "processing"] | None = Field(None, description="Only tasks of this status.")


@shown
class BulkRetryPlanView(TypedDict):
    """What a bulk retry would come to: failed tasks, and the calls that they need when nothing fails, and make at most.

    `maximumCalls` has MAX_ATTEMPTS calls for each output that is left, within each task's `maxModelCalls`. It leaves
    out calls that fail for a cause of the service (429, 5xx, timeouts, no connection, a model that is away): they come
    on top, and only `maxModelCalls` bounds them. At most 10,000 tasks are counted; then `more` is true.
    """

    tasks: Count
    minimumCalls: Count
    maximumCalls: Count
    more: bool


@shown
class BulkRetryView(TypedDict):
    """How many failed tasks were put back, at most 100. `more`: there are others, so ask again."""

    retried: Count
    more: bool


@shown
class BulkCancelPlanView(TypedDict):
    """How many tasks a bulk cancellation would end. At most 10,000 are counted; then `more` is true."""

    tasks: Count
    more: bool


@shown
class BulkCancelView(TypedDict):
    """How many tasks were cancelled, at most 100. `more`: there are others, so ask again."""

    cancelled: Count
    more: bool


async def retry(exchange: Exchange) -> Reply:
    """Put failed tasks back, or say what that would come to."""
    api, tenant = exchange.api, exchange.tenant
    fields = checked(BulkRetryFields, await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST))
    code, span = fields.error_code, fields.span(tenant)
    if code is TaskCode.BUDGET_EXHAUSTED:
        message = "must not be budget_exhausted: put such a task back on its own, with a larger maxModelCalls"
        raise field_refusal([FieldError("errorCode", message)])
    if fields.dry_run:
        cost = await api.store.retry_cost(span, code, api.settings.max_attempts)
        plan = BulkRetryPlanView(
            tasks=cost.tasks,
            minimumCalls=cost.minimum_calls,
            maximumCalls=cost.maximum_calls,
            more=cost.tasks >= limits.BULK_COUNT_MOST,
        )
        return json_reply(200, plan)
    done = await Bulk(api.submission).retry(tenant, span, code)
    if isinstance(done, Refused):
        raise limit_reached(done.limit, api)
    return json_reply(202, BulkRetryView(retried=done.tasks, more=done.more))


async def cancel(exchange: Exchange) -> Reply:
    """Cancel tasks that go on, or count them. As with one, no call of theirs starts after the answer."""
    api, tenant = exchange.api, exchange.tenant
    fields = checked(BulkCancelFields, await read_object(exchange.request, limits.SMALL_BODY_BYTES_MOST))
    status, span = None if fields.status is None else Status(fields.status), fields.span(tenant)
    if fields.dry_run:
        tasks = await api.store.count_going_on(tenant, span, status)
        return json_reply(200, BulkCancelPlanView(tasks=tasks, more=tasks >= limits.BULK_COUNT_MOST))
    ends_at = asyncio.get_running_loop().time() + limits.CANCEL_SECONDS_MOST
    done = await Bulk(api.submission).cancel(tenant, span, status)
    held = done.starting_ms / 1000
    late = asyncio.get_running_loop().time() + held > ends_at
    telling = _tell_objects(api, done.objects, ends_at - limits.TELL_SECONDS)
    await asyncio.gather(asyncio.sleep(0.0 if late else held), telling)
    if late:
        raise Refusal(DATABASE_UNAVAILABLE, _STILL_STARTING, headers={"Retry-After": str(ceil(held))})
    return json_reply(202, BulkCancelView(cancelled=done.tasks, more=done.more))


async def _tell_objects(api: Api, fences: Mapping[TaskKey, int], until: float) -> None:
    """Tell objects of their tasks' end, as many as the invocation has subrequests for, and begin none after `until`.

    The others find it at their next look.
    """
    left = api.settings.subrequests - api.submission.meter.subrequests_taken - _SUBREQUESTS_KEPT
    for batch in batched(islice(fences.items(), max(0, left)), _TOLD_AT_ONCE):
        if asyncio.get_running_loop().time() >= until:
            return
        await asyncio.gather(*(api.tell_object(task_key, fence) for task_key, fence in batch))


_REFUSED = (
    problems.MALFORMED_BODY,
    problems.TOO_LARGE,
    problems.UNSUPPORTED_MEDIA_TYPE,
    *problems.DATABASE_KINDS,
)

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/api/tasks/retry",
        name="retryTasks",
        summary="Let failed tasks go on from the chunks that they have, up to 100 of them; or count them",
        handler=retry,
        access=Scope.WRITE,
        body=BulkRetryFields,
        answers=(
            Answer(200, "With `dryRun`: what it would come to", (BulkRetryPlanView,)),
            Answer(202, "Put back", (BulkRetryView,)),
        ),
        problems=_REFUSED,
    ),
    Endpoint(
        method="POST",
        path="/api/tasks/cancel",
        name="cancelTasks",
        summary="Cancel tasks that go on, up to 100 of them: no model call of theirs starts afterwards; or count them",
        handler=cancel,
        seconds_most=limits.CANCEL_ANSWER_SECONDS,
        access=Scope.WRITE,
        body=BulkCancelFields,
        answers=(
            Answer(200, "With `dryRun`: how many there are", (BulkCancelPlanView,)),
            Answer(202, "Cancelled", (BulkCancelView,)),
        ),
        problems=_REFUSED,
    ),
)
