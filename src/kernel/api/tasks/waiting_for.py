"""The API's views of an unfinished task's state: why it waits, its last error, and when it may end."""

import asyncio
from math import ceil
from typing import Annotated, Literal, TypedDict, cast

from pydantic import Field

from ...domain import limits
from ...domain.codes import TaskCode
from ...domain.errors import seconds_since_reset, seconds_until_reset
from ...domain.task import LastError, Task, Wait
from ..base.services import Api
from ..base.views import Count, Time, maybe_rfc3339, rfc3339, shown

Reason = Literal[
    "queued", "rate_limited", "model_away", "backoff", "lease", "database", "quota", "scheduled", "cost_limit"
]

RETRY_SECONDS_LEAST, RETRY_SECONDS_MOST = 1, 30
# `Retry-After` as a fraction of the estimated rest of the task. A `Retry-After` that is too short costs one more
# request, and one that is too long makes the client wait.
_FRACTION_OF_ESTIMATE = 0.5
# For how many times a call's duration a task may go without a change before its pace is no longer trusted.
_CALLS_OF_SILENCE = 2


@shown
class WaitView(TypedDict):
    """Why a task makes no progress. `until` is when the task may continue, null if this is unknown.

    `queued`: the task waits for a worker. `rate_limited`: the provider asked for a pause. `model_away`: the provider is
    away. `backoff`: a call failed and is repeated later. `lease`: the task's worker died or stalled. `database`: the
    database is overloaded, or the bucket of files does not answer. `quota`: an allowance of a service is used up, until
    its reset. `scheduled`: `notBefore` has not come. `cost_limit`: the tenant has used up what its month may cost, or a
    cap applies and the next call has no price. `ahead` counts the tasks that come before a queued one, if their number
    is known: those of the tenant, and those of others that have the object slots for which it waits.
    """

    reason: Reason
    until: Time | None
    ahead: Count | None


@shown
class LastErrorView(TypedDict):
    """The last failed call of a task; it is null again after a call succeeds.

    `calls` says how many calls in a row have failed. The failed call of a merge has no `chunk`.
    """

    code: TaskCode
    message: str
    at: Time
    chunk: Count | None
    calls: Annotated[int, Field(ge=1)]


def waiting_for(task: Task, api: Api) -> Wait | None:
    """Return what a task waits for, by its row and this isolate's knowledge of the database, or None for no wait."""
    if task.status.terminal:
        return None
    wait = task.waiting_for
    if wait is None:
        longest = api.settings.timeout_seconds + limits.LANE_SLACK_SECONDS + limits.LINGER_SECONDS_MOST
        if task.starts_by is None or task.read_at <= task.starts_by + longest * 1000:
            return None
        # Every announced call must have ended, and the worker recorded none: it counts as dead.
        wait = Wait("lease", task.free_at)
    load, now = api.isolate.load, asyncio.get_running_loop().time()
    if load.has_used_up(now, seconds_since_reset(task.read_at)):
        return Wait("quota", task.read_at + seconds_until_reset(task.read_at) * 1000)
    if wait.reason in {"queued", "lease"} and load.is_behind(now):
        return Wait("database", None)
    return wait


def wait_view(wait: Wait | None) -> WaitView | None:
    """Show what a task waits for."""
    if wait is None:
        return None
    return WaitView(reason=cast("Reason", wait.reason), until=maybe_rfc3339(wait.until), ahead=wait.ahead)


def last_error_view(error: LastError | None) -> LastErrorView | None:
    """Show a task's last failed call."""
    if error is None:
        return None
    return LastErrorView(
        code=error.code, message=error.message, at=rfc3339(error.at), chunk=error.chunk, calls=error.calls
    )


def estimated_finish(task: Task, wait: Wait | None) -> str | None:
    """Estimate the task's end if its pace stays the same and its wait ends on time. Return None if unknown."""
    if task.status.terminal or task.pace_ms is None or (wait is not None and wait.until is None):
        return None
    begins_at = task.read_at if wait is None or wait.until is None else max(task.read_at, wait.until)
    return rfc3339(begins_at + _calls_left(task) * task.pace_ms)


def retry_after_seconds(task: Task, wait: Wait | None, concurrency: int) -> int:
    """Return the value of `Retry-After` for an unfinished task, from 1 to 30 s.

    It follows from the remaining calls and the task's pace. If the pace is unknown, or while the task waits, it is the
    time since the task last changed, and at least that if calls take far longer than before. It is never shorter than a
    wait with a known end.
    """
    silence = max(0, task.read_at - task.news_at) / 1000
    hint = silence
    if wait is None and task.pace_ms is not None:
        hint = _calls_left(task) * task.pace_ms / 1000 * _FRACTION_OF_ESTIMATE
        if silence > _CALLS_OF_SILENCE * concurrency * task.pace_ms / 1000:
            hint = max(hint, silence)
    if wait is not None and wait.until is not None:
        hint = max(hint, (wait.until - task.read_at) / 1000)
    return min(RETRY_SECONDS_MOST, max(RETRY_SECONDS_LEAST, ceil(hint)))


def _calls_left(task: Task) -> int:
    return max(1, task.usage.minimum_calls - task.completed)


def retry_after(api: Api, task: Task) -> dict[str, str]:
    """Return the header that says when to ask again for a task, none if it has ended."""
    if task.status.terminal:
        return {}
    return {"Retry-After": str(retry_after_seconds(task, waiting_for(task, api), api.settings.concurrency))}
