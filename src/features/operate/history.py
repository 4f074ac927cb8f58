"""`GET /api/history`: the tasks that ended in the last hours, in steps of five minutes, and the backlog, for plots.

`GET /api/history` reads up to four rows of D1 for each five minutes, about 1,200 for a day. `GET /api/history` first
adds up the tasks that have ended, as a scrape of the metrics does.
"""

from collections import Counter

from ...kernel.api.base import fields
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply, json_reply
from ...kernel.api.base.views import FailedTasksView, amount_view, maybe_rfc3339, rfc3339
from ...kernel.domain import limits
from ...kernel.domain.task import Status
from ...kernel.store.tallies import BOUNDS_MS, FAILED_WITH, Sums
from ...kernel.work.sweep.folding import Folding
from .figures import BacklogView, DurationView, FiveMinutesView, HistoryView
from .tallies import FiveMinutes, Sample, TallyStore, added, quantile_ms


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
        backlog=None if found.sample is None else _backlog(found.sample),
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


def _backlog(sample: Sample) -> BacklogView:
    return BacklogView(
        pending=sample.pending,
        processing=sample.processing,
        oldestPendingSeconds=None if sample.oldest_ms is None else sample.oldest_ms // 1000,
    )
