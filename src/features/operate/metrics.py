"""`GET /api/metrics`: the deployment's finished and unfinished work, in Prometheus' text format, version 0.0.4.

The counters come from sums that only rise (`tallies`). A scrape first adds the tasks that have ended since the last
sweep to the sums. It reads three rows of D1 for each task that it adds, four for each unfinished task up to a limit,
and about 30 more, however many tasks are stored.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from ...kernel.api.base.endpoint import Access, Answer, Endpoint
from ...kernel.api.base.exchange import Exchange
from ...kernel.api.base.messages import Reply
from ...kernel.api.base.services import Api
from ...kernel.domain import limits
from ...kernel.domain.settings import Settings
from ...kernel.domain.task import Route, Status
from ...kernel.domain.version import MIGRATION, VERSION
from ...kernel.store.tallies import BOUNDS_MS, Sums
from ...kernel.work.sweep.own_duties import Folding
from ..batches.status import ENDED, BatchStatus
from .model import BY_GRAVITY, Calls, ShownHealth, health_of
from .operation import unreachable
from .tallies import OpenBatches, Scrape, TallyStore, added

Labels = Mapping[str, str]
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Point(NamedTuple):
    """One sample of a metric. `suffix` is appended to the family's name, such as `_bucket`."""

    labels: Labels
    value: float
    suffix: str = ""


class Family(NamedTuple):
    """One metric: its name, its type, its meaning, and its samples. `write` leaves out a metric without samples."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    points: Sequence[Point]


def gauge(name: str, meaning: str, value: float | None) -> Family:
    """Make a metric with one value, None for no value."""
    return Family(name, "gauge", meaning, [] if value is None else [Point({}, value)])


def histogram(labels: Labels, counts: Mapping[float, int], count: int, total: float) -> list[Point]:
    """Make the samples of a histogram: the count up to each bound, the count of all values, and their sum."""
    bounds = {_number(bound): value for bound, value in counts.items()} | {"+Inf": count}
    buckets = [Point({**labels, "le": bound}, value, "_bucket") for bound, value in bounds.items()]
    return [*buckets, Point(labels, total, "_sum"), Point(labels, count, "_count")]


def write(families: Iterable[Family]) -> str:
    """Write families of samples in Prometheus' text format, in the given order."""
    return "".join(_written(family) for family in families if family.points)


def _written(family: Family) -> str:
    lines = [f"# HELP {family.name} {_escaped(family.help)}", f"# TYPE {family.name} {family.kind}"]
    for point in family.points:
        labels = ",".join(f'{name}="{_quoted(value)}"' for name, value in point.labels.items())
        lines.append(f"{family.name}{point.suffix}{f'{{{labels}}}' if labels else ''} {_number(point.value)}")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')


_ENDED = (Status.COMPLETED, Status.FAILED, Status.CANCELLED)
_AT_WORK = (Status.PENDING, Status.PROCESSING)

# Counters with a value for each route: the counter's name, the sum that it shows, and its meaning.
_BY_ROUTE = (
    ("model_calls", "calls", "Model calls of ended tasks, including failed calls and calls in doubt."),
    ("model_calls_in_doubt", "in_doubt", "Calls of ended tasks with an unknown outcome: their worker died."),
    ("model_calls_fruitless", "fruitless", "Calls of ended tasks without output: failed, rate-limited or in doubt."),
    ("outputs_truncated", "truncated", "Outputs that the model or its provider cut off."),
    ("outputs_rejected", "rejections", "Answers that did not fit their task's schema, repaired ones left out."),
    ("outputs_repaired", "repairs", "Outputs that fitted their task's schema after a repair."),
    ("reasks", "asked_again", "Model calls that asked again for an output that fits."),
    ("quotes_not_found", "missed_quotes", "Quotes of models that are not in their source, and so became null."),
    ("gaps", "gap_chunks", "Chunks without an output in tasks that completed without them."),
    ("input_tokens", "input_tokens", "Tokens that models read, by their own count."),
    ("output_tokens", "output_tokens", "Tokens that models wrote, by their own count."),
    ("cached_input_tokens", "cached_input", "Input tokens that providers had in their caches."),
    ("task_retries", "retries", "Ends of tasks that their clients had retried."),
    ("dead_letters", "dead_letters", "Tasks that failed because their message had used up its deliveries."),
)
# The same in dollars, from sums in billionths of a dollar.
_DOLLARS = (
    (
        "cost_dollars",
        "cost_booked",
        "What calls of ended tasks cost, without calls in doubt and calls without a price.",
    ),
    ("cost_in_doubt_dollars", "cost_doubted", "The most that calls in doubt of ended tasks can cost."),
)
_NOTHING: Sums = added(())


async def read_metrics(exchange: Exchange) -> Reply:
    """Add the tasks that have ended to the sums over ended tasks, and write all metrics."""
    api = exchange.api
    settings = api.settings
    await Folding(api.store, settings, api.log).run()
    most, store = limits.SAMPLE_TASKS_MOST[settings.plan], api.store.beside(TallyStore)
    scraped, cut_off, health = await store.scrape(most), await unreachable(api), await health_of(api)
    families = [*_families(api, scraped, most, store.rows, cut_off), *_health(health)]
    return Reply(200, write(families), {"Content-Type": TEXT})


def _families(api: Api, standing: Scrape, most: int, rows: tuple[int, int], cut_off: int) -> list[Family]:
    return [
        *_tasks(standing, most),
        *_sums(standing.totals),
        gauge("onceover_storage_bytes", "Size of the database.", api.isolate.storage.size),
        gauge("onceover_storage_limit_bytes", "Size at which new tasks are refused.", api.settings.storage_bytes_most),
        *_quota(api.settings, standing),
        Family(
            "onceover_deliveries",
            "gauge",
            "Webhook deliveries that are still open: unsent, or failed and to be tried again. At most "
            f"{most} are counted.",
            [Point({"state": state}, count) for state, count in standing.deliveries.items()],
        ),
        *_batches(standing, most),
        gauge(
            "onceover_tasks_without_files",
            "Unfinished tasks, batches included, whose files lie in R2 although the binding BLOBS is missing.",
            cut_off,
        ),
        *_service(api, standing, rows),
    ]


def _health(health: ShownHealth) -> list[Family]:
    calls = health.calls or Calls()
    return [
        Family(
            "onceover_model_health",
            "gauge",
            "1 for the status that GET /api/ai-status shows, 0 for the others.",
            [Point({"status": status}, int(status == health.status)) for status in BY_GRAVITY],
        ),
        gauge(
            "onceover_tasks_waiting_for_model",
            f"Tasks that wait for a model that is away, of the first {limits.HEALTH_TASKS_MOST} unfinished ones.",
            sum(calls.waiting.values()),
        ),
    ]


def _batches(standing: Scrape, most: int) -> list[Family]:
    found = {status: standing.batches.get(status, OpenBatches(0, 0)) for status in BatchStatus if status not in ENDED}
    return [
        Family(
            "onceover_batches",
            "gauge",
            f"Batches that have not ended, by status. At most {most} are counted.",
            [Point({"status": status}, group.batches) for status, group in found.items()],
        ),
        gauge(
            "onceover_batch_lines",
            "Lines of these batches without an answer or a failure. The lines of a file that is being checked are not "
            "counted.",
            sum(group.lines for group in found.values()),
        ),
    ]


def _tasks(standing: Scrape, most: int) -> list[Family]:
    going = Counter({(status, route): 0 for status in _AT_WORK for route in Route})
    for group in standing.at_work:
        going[group.status, group.route] += group.tasks
    oldest_ms = max((group.oldest_ms or 0 for group in standing.at_work), default=0)
    return [
        Family(
            "onceover_tasks",
            "gauge",
            f"Unfinished tasks, by status and route. At most {most} are counted.",
            [Point({"status": status, "route": route}, count) for (status, route), count in going.items()],
        ),
        gauge("onceover_oldest_pending_seconds", "Age of the oldest pending task; 0 without one.", oldest_ms / 1000),
        Family(
            "onceover_tasks_ended_total",
            "counter",
            "Ends of tasks, by status and route. A retried task ends again. A task erased before its end "
            "counts as cancelled.",
            [
                Point({"status": status, "route": route}, standing.totals.get((status, route), _NOTHING)["ended"])
                for status in _ENDED
                for route in Route
            ],
        ),
    ]


def _sums(totals: Mapping[tuple[Status, Route], Sums]) -> list[Family]:
    routes = {route: added([sums for (_, its), sums in totals.items() if its is route]) for route in Route}

    def counter(name: str, measure: str, meaning: str, unit: int = 1) -> Family:
        points = [Point({"route": route}, sums[measure] / unit) for route, sums in routes.items()]
        return Family(f"onceover_{name}_total", "counter", meaning, points)

    def lasting(name: str) -> list[Point]:
        return [
            point
            for route, sums in routes.items()
            for point in histogram(
                {"route": route},
                {bound / 1000: sums[f"{name}_le_{bound}"] for bound in BOUNDS_MS},
                sums[name],
                sums[f"{name}_ms"] / 1000,
            )
        ]

    return [
        *(counter(*one) for one in _BY_ROUTE),
        *(counter(*one, 10**9) for one in _DOLLARS),
        Family(
            "onceover_task_wait_seconds",
            "histogram",
            "Time from submission to first start, of ended tasks that were never retried.",
            lasting("waited"),
        ),
        Family(
            "onceover_task_duration_seconds",
            "histogram",
            "Time from submission to end, of ended tasks that were never retried.",
            lasting("took"),
        ),
    ]


def _quota(settings: Settings, standing: Scrape) -> list[Family]:
    """Show how much of its limits each tenant uses. Without a limit of characters a day, no characters are counted."""
    going: Counter[str] = Counter()
    for group in standing.at_work:
        going[group.tenant] += group.tasks
    most = limits.METRICS_TENANTS_MOST
    return [
        Family(
            "onceover_quota_tasks",
            "gauge",
            f"Unfinished tasks, of the {most} tenants that have most.",
            [Point({"tenant": tenant}, count) for tenant, count in going.most_common(most)],
        ),
        gauge("onceover_quota_tasks_limit", "MAX_TASKS_IN_FLIGHT.", settings.tasks_in_flight_most),
        Family(
            "onceover_quota_characters",
            "gauge",
            f"Characters accepted today (UTC), of the {most} tenants that have most; only if there is a limit.",
            [Point({"tenant": tenant}, used) for tenant, used in standing.characters.items()],
        ),
        gauge("onceover_quota_characters_limit", "MAX_CHARACTERS_PER_DAY.", settings.characters_a_day_most),
    ]


def _service(api: Api, standing: Scrape, rows: tuple[int, int]) -> list[Family]:
    read, written = rows
    return [
        Family(
            "onceover_last_seen_timestamp_seconds",
            "gauge",
            "When a sweep, a queue batch and an object's alarm last ran. The time may be five minutes too old.",
            [Point({"trigger": what}, at / 1000) for what, at in sorted(standing.seen.items())],
        ),
        gauge(
            "onceover_counted_until_timestamp_seconds",
            "The counters include all ends up to this time.",
            None if standing.until is None else standing.until / 1000,
        ),
        Family(
            "onceover_build_info",
            "gauge",
            "Always 1.",
            [Point({"version": VERSION, "schema": MIGRATION, "provider": api.provider.name}, 1)],
        ),
        gauge("onceover_scrape_rows_read", "Rows of D1 that this scrape read.", read),
        gauge("onceover_scrape_rows_written", "Rows of D1 that this scrape wrote.", written),
    ]


ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/api/metrics",
        summary="Read the deployment's metrics, as Prometheus does",
        handler=read_metrics,
        access=Access.OPERATOR,
        answers=(Answer(200, "Prometheus' text format, 0.0.4", media_type=TEXT),),
    ),
)
