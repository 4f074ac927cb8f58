"""`GET /api/history`: the tasks that ended in the last hours, in steps of five minutes, and the backlog, for plots.

It reads up to four rows of D1 for each five minutes, about 1,200 for a day. Before, it adds up the tasks that have
ended, as a scrape of the metrics does.
"""

from collections import Counter
from typing import Final, TypedDict

from ...kernel.api.base import fields
from ...kernel.api.base.endpoint import HOURS, Access, Answer, Endpoint
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.views import CostView, Count, FailedTasksView, Time, amount_view, maybe_rfc3339, rfc3339, shown
from ...kernel.domain import limits
from ...kernel.domain.task import Status
from ...kernel.store.tallies import BOUNDS_MS, FAILED_WITH, Sums
from ...kernel.work.sweep.own_duties import Folding
from .operation import BacklogView, backlog_view
from .tallies import FiveMinutes, TallyStore, added, quantile_ms


@shown
class DurationView(TypedDict):
    """The durations of tasks that were never retried: their count, their sum, and the count up to each of `boundsMs`.

    The quantiles are interpolated between these bounds, and are null if there are no tasks.
    """

    count: Count
    sumMs: Count
    upTo: list[Count]
    p50Ms: Count | None
    p95Ms: Count | None


@shown
class FiveMinutesView(TypedDict):
    """The tasks that ended in the five minutes from `at` on. `backlog` is a sample of that time, null without a sample.

    The bills are those of the tasks that ended; `cost` is null if no model has a price. `failures` counts the failed
    tasks by code, the most frequent code first. `waited` is the time from the submission to the start, `took` the time
    from the submission to the end.
    """

    at: Time
    completed: Count
    failed: Count
    cancelled: Count
    failures: list[FailedTasksView]
    retries: Count
    deadLetters: Count
    modelCalls: Count
    inDoubt: Count
    fruitlessCalls: Count
    truncated: Count
    inputTokens: Count
    outputTokens: Count
    cachedInputTokens: Count
    cost: CostView | None
    reasks: Count
    rejected: Count
    repaired: Count
    quotesNotFound: Count
    gaps: Count
    waited: DurationView
    took: DurationView
    backlog: BacklogView | None


@shown
class HistoryView(TypedDict):
    """The last hours in steps of five minutes, oldest first. A step without an ended task and a sweep is left out.

    Tasks that ended after `until` are not included yet. `until` is null as long as there are no sums.
    """

    hours: Count
    bucketSeconds: Count
    until: Time | None
    boundsMs: list[Count]
    buckets: list[FiveMinutesView]


async def read_history(exchange: Exchange) -> Reply:
    """Add the tasks that have ended to the history, and show the history of the last hours."""
    hours, api = fields.hours(exchange.query), exchange.api
    await Folding(api.store, api.settings, api.log).run()
    until, found = await api.store.beside(TallyStore).history(hours * 3_600_000)
    view = HistoryView(
        hours=hours,
        bucketSeconds=round(limits.HISTORY_BUCKET_SECONDS),
        until=maybe_rfc3339(until),
        boundsMs=list(BOUNDS_MS),
        buckets=[_five_minutes(at, one, priced=bool(api.settings.prices)) for at, one in found.items()],
    )
    return json_reply(200, view)


def _five_minutes(at: int, found: FiveMinutes, *, priced: bool) -> FiveMinutesView:
    sums = added(list(found.ended.values()))

    def ended(status: Status) -> int:
        return found.ended[status]["ended"] if status in found.ended else 0

    return FiveMinutesView(
        at=rfc3339(at),
        completed=ended(Status.COMPLETED),
        failed=ended(Status.FAILED),
        cancelled=ended(Status.CANCELLED),
        failures=_failures(sums),
        retries=sums["retries"],
        deadLetters=sums["dead_letters"],
        modelCalls=sums["calls"],
        inDoubt=sums["in_doubt"],
        fruitlessCalls=sums["fruitless"],
        truncated=sums["truncated"],
        inputTokens=sums["input_tokens"],
        outputTokens=sums["output_tokens"],
        cachedInputTokens=sums["cached_input"],
        cost=amount_view(sums["cost_booked"], sums["cost_doubted"])
        if priced or sums["cost_booked"] or sums["cost_doubted"]
        else None,
        reasks=sums["asked_again"],
        rejected=sums["rejections"],
        repaired=sums["repairs"],
        quotesNotFound=sums["missed_quotes"],
        gaps=sums["gap_chunks"],
        waited=_duration(sums, "waited"),
        took=_duration(sums, "took"),
        backlog=None if found.sample is None else backlog_view(found.sample),
    )


def _failures(sums: Sums) -> list[FailedTasksView]:
    counts = Counter({code: sums[column] for code, column in FAILED_WITH.items()})
    return [FailedTasksView(code=code, tasks=tasks) for code, tasks in counts.most_common() if tasks]


def _duration(sums: Sums, name: str) -> DurationView:
    return DurationView(
        count=sums[name],
        sumMs=sums[f"{name}_ms"],
        upTo=[sums[f"{name}_le_{bound}"] for bound in BOUNDS_MS],
        p50Ms=quantile_ms(sums, name, 0.5),
        p95Ms=quantile_ms(sums, name, 0.95),
    )


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/history",
        summary="Read the last hours in steps of five minutes: ended tasks, bills, latencies and backlog",
        handler=read_history,
        access=Access.OPERATOR,
        parameters=(HOURS,),
        answers=(Answer(200, "The last hours", (HistoryView,)),),
    ),
)
