"""`GET /api/tasks/{id}/attempts`: the log of a task's model calls."""

import re
from typing import Annotated, Final, TypedDict

from pydantic import Field

from ...kernel.api.base import fields
from ...kernel.api.base.endpoint import Answer, Endpoint, Parameter
from ...kernel.api.base.exchange import Exchange, Reach
from ...kernel.api.base.messages import Query, Reply, json_reply
from ...kernel.api.base.problems import no_task
from ...kernel.api.base.views import Count, Time, maybe_rfc3339, shown
from ...kernel.domain.codes import TaskCode
from ...kernel.domain.keys import Scope
from ...kernel.domain.task import Route
from .log import AttemptCounts, AttemptOutcome, AttemptStore, CallAttempt, EntryKey

# The level and the index of an output (a batch has up to 20,000 lines), and the number of a call for it. Without a
# number, the next page begins behind all calls for the output.
_CURSOR: Final = "([0-9]{1,2})\\.([0-9]{1,5})(?:\\.([0-9]{1,4}))?"


@shown
class CallAttemptView(TypedDict):
    """A model call. At `level` 0 it is for the chunk `index`; calls of a higher level merge outputs of the level below.

    `number` counts the calls for this output since the last retry: the first call has 1. `outcome` is `failed`,
    `in_doubt` (the call's worker died or gave the call up), `succeeded`, or `out` (announced, and perhaps under way).
    `answered` says whether the provider answered: a failed call without an answer is in doubt on the bill. A failed
    call shows its own `model` and `route`, any other call those of the task. Calls that a lane made together have the
    times of the group. `lane` is known only of calls that succeeded. A field is null if its value is unknown or does
    not apply.
    """

    level: Count
    index: Count
    number: Annotated[int, Field(ge=1)] | None
    outcome: AttemptOutcome
    answered: bool | None
    model: str | None
    route: Route | None
    lane: Annotated[int, Field(ge=1)] | None
    announcedAt: Time | None
    startedAt: Time | None
    finishedAt: Time | None
    milliseconds: Count | None
    code: TaskCode | None
    message: str | None


@shown
class AttemptCountsView(TypedDict):
    """The numbers of calls of the whole task, which do not depend on the page and the filter.

    `calls` is `usage.modelCalls`. `unlisted` counts the calls that the list of calls cannot show one by one.
    """

    calls: Count
    succeeded: Count
    failed: Count
    inDoubt: Count
    out: Count
    unlisted: Count


@shown
class AttemptListView(TypedDict):
    """The calls of a task by level and index. Those for one output are in the order failed, in doubt, succeeded, out.

    `nextCursor` is null on the last page only. Long outputs shorten a page.
    """

    attempts: list[CallAttemptView]
    counts: AttemptCountsView
    nextCursor: str | None


async def read_attempts(exchange: Exchange) -> Reply:
    """Show a page of the log of a task's model calls."""
    api, after = exchange.api, _after(exchange.query)
    outcome = fields.one_of(exchange.query, "outcome", AttemptOutcome)
    only = frozenset(AttemptOutcome if outcome is None else {outcome})
    most, store = fields.page_limit(exchange.query), api.store.beside(AttemptStore)
    page = await store.attempts(exchange.task_key, only, after, most, api.provider.default_model)
    if page is None:
        raise no_task()
    cursor = None if page.after is None else _cursor(page.after)
    shown_calls = [_view(one) for one in page.attempts]
    return json_reply(200, AttemptListView(attempts=shown_calls, counts=_counts(page.counts), nextCursor=cursor))


def _after(query: Query) -> EntryKey | None:
    text = query.get("cursor")
    if text is None:
        return None
    found = re.fullmatch(_CURSOR, text)
    if found is None:
        raise fields.refused("cursor", "must be the nextCursor of an earlier page")
    return EntryKey(*(int(number) for number in found.groups() if number is not None))


def _cursor(after: EntryKey) -> str:
    end = "" if after.is_behind else f".{after.nth}"
    return f"{after.level}.{after.position}{end}"


def _view(one: CallAttempt) -> CallAttemptView:
    took = None if one.started_ms is None or one.ended_ms is None else max(0, one.ended_ms - one.started_ms)
    return CallAttemptView(
        level=one.key.level,
        index=one.key.position,
        number=one.number,
        outcome=one.outcome,
        answered=one.answered,
        model=one.model,
        route=None if one.route is None else Route(one.route),
        lane=one.lane,
        announcedAt=maybe_rfc3339(one.announced_ms),
        startedAt=maybe_rfc3339(one.started_ms),
        finishedAt=maybe_rfc3339(one.ended_ms),
        milliseconds=took,
        code=one.code,
        message=one.message,
    )


def _counts(counts: AttemptCounts) -> AttemptCountsView:
    of = counts.of
    return AttemptCountsView(
        calls=counts.calls,
        succeeded=of[AttemptOutcome.SUCCEEDED],
        failed=of[AttemptOutcome.FAILED],
        inDoubt=of[AttemptOutcome.IN_DOUBT],
        out=of[AttemptOutcome.OUT],
        unlisted=max(0, counts.calls - sum(of.values())),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/tasks/{id}/attempts",
        summary="Read the log of a task's calls: those that failed, that succeeded, and that have no answer",
        handler=read_attempts,
        access=Scope.READ,
        reach=Reach.ONE,
        parameters=(
            Parameter("outcome", "Only calls with this outcome.", {"type": "string", "enum": list(AttemptOutcome)}),
            Parameter("limit", "How many calls at most.", fields.LIMIT),
            Parameter(
                "cursor", "The `nextCursor` of the previous page.", {"type": "string", "pattern": f"^{_CURSOR}$"}
            ),
        ),
        answers=(Answer(200, "A page of calls", (AttemptListView,)),),
    ),
)
