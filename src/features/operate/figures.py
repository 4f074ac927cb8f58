"""The views of figures for operators: the backlog and the history; and the media type of the metrics."""

from typing import TypedDict

from ...kernel.api.base.views import CostView, Count, FailedTasksView, Time, shown

TEXT = "text/plain; version=0.0.4; charset=utf-8"  # Prometheus'


@shown
class BacklogView(TypedDict):
    """The unfinished tasks of all tenants. `oldestPendingSeconds` is null if no task is pending."""

    pending: Count
    processing: Count
    oldestPendingSeconds: Count | None


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
