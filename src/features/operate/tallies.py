"""Reads the sums over ended tasks, and other figures for metrics and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...kernel.domain import limits
from ...kernel.domain.task import Route, Status
from ...kernel.store import d1, seen
from ...kernel.store.d1 import Row, Store, statement
from ...kernel.store.fragments import NOW
from ...kernel.store.seen import Backlog, Seen
from ...kernel.store.tallies import BOUNDS_MS, GOING_ON, MEASURES, Sums


def added(sums: Sequence[Sums]) -> Sums:
    """Add up several sums over ended tasks, measure by measure."""
    return {name: sum(one[name] for one in sums) for name in MEASURES}


def quantile_ms(sums: Sums, name: str, fraction: float) -> int | None:
    """Estimate the ms of a fraction of the tasks, between BOUNDS_MS, the highest at most. None without any."""
    most = fraction * sums[name]
    if not most:
        return None
    below_ms, below = 0, 0
    for bound in BOUNDS_MS:
        count = sums[f"{name}_le_{bound}"]
        if count >= most:
            return round(below_ms + (bound - below_ms) * (most - below) / (count - below))
        below_ms, below = bound, count
    return BOUNDS_MS[-1]


# --- Statements --------------------------------------------------------------------------------------------------

# Counts the first `:most` unfinished tasks by tenant, status and route; for each group, it also gives the age of the
# oldest pending task. AT_WORK reads two rows for each task.
AT_WORK = statement(f"""
SELECT tenant, status, route, count(*) AS tasks,
  max(0, max(age_ms) FILTER (WHERE status = 'pending')) AS oldest_ms FROM {GOING_ON} GROUP BY tenant, status, route
""")

# Counts the first `:most` webhook deliveries without an outcome: separately those that were never sent, and those that
# failed and will be tried again. OPEN_DELIVERIES reads one row for each webhook delivery.
OPEN_DELIVERIES = statement("""
SELECT count(*) FILTER (WHERE state = 1) AS unsent, count(*) FILTER (WHERE state = 2) AS failing
FROM (SELECT state FROM webhook_deliveries WHERE state IN (1, 2) LIMIT :most)
""")

# Counts the first `:most` batches that have not ended, by their status, and counts the lines of these batches that have
# no outcome yet. OPEN_BATCHES reads two rows for each batch.
OPEN_BATCHES = statement("""
SELECT CASE WHEN finished_at IS NOT NULL THEN iif(status = 'cancelled', 'cancelling', 'finalizing')
  WHEN valid_at IS NULL THEN 'validating' ELSE 'in_progress' END AS state,
  count(*) AS batches, sum(total - completed - failed) AS lines
FROM (SELECT task_id, valid_at FROM batches INDEXED BY batches_to_write WHERE ended_at IS NULL LIMIT :most) AS open
CROSS JOIN tasks ON tasks.id = open.task_id GROUP BY state
""")

_SUMS = ", ".join(f"sum({name}) AS {name}" for name in MEASURES)

# Reads the sums over all tasks that ever ended, in a row for each status and route.
TOTALS = statement(f"SELECT status, route, {', '.join(MEASURES)} FROM tallies WHERE at = 0 ORDER BY status, route")

# Says up to what time the sums contain all tasks that ended, NULL before the first fold.
FOLDED_UNTIL = statement("SELECT max(until) AS until FROM folds")

# HISTORY reads the sums of five minutes that began within the last `:back_ms`, by status; SAMPLES the samples.
HISTORY = statement(f"""
SELECT at, status, {_SUMS} FROM tallies WHERE at > 0 AND at > {NOW} - :back_ms GROUP BY at, status ORDER BY at, status
""")
SAMPLES = statement(f"SELECT at, pending, processing, oldest_ms FROM samples WHERE at > {NOW} - :back_ms ORDER BY at")

# Reads how many characters tenants have used today, for the `:most` tenants with the highest use. CHARACTERS_USED reads
# one row for each of the first `:read_most` tenants that ever had characters counted.
CHARACTERS_USED = statement(f"""
SELECT tenant, characters FROM (SELECT * FROM daily_use LIMIT :read_most) WHERE day = {NOW} / 86400000
ORDER BY characters DESC, tenant LIMIT :most
""")

# wrangler creates this table before all others, so with the LIMIT the search for it ends after a row or two.
HAS_MIGRATIONS = statement("""
SELECT 1 AS there FROM sqlite_schema WHERE type = 'table' AND name = 'd1_migrations' LIMIT 1
""")
APPLIED_MIGRATIONS = statement("SELECT name FROM d1_migrations ORDER BY name DESC LIMIT 100")

# Counts the unfinished batches and tasks with a file in R2, up to `:most`. Reads up to three rows for each.
NEED_BUCKET = statement("""
SELECT count(*) AS unreachable FROM (
  SELECT 1 FROM batches WHERE ended_at IS NULL
    AND EXISTS (SELECT 1 FROM files WHERE id IN (input_file, output_file, error_file) AND place = 'r2')
  UNION ALL
  SELECT 1 FROM tasks CROSS JOIN files ON files.id = text_file
  WHERE text_file IS NOT NULL AND finished_at IS NULL AND place = 'r2'
  LIMIT :most
)
""")

# Counts the unfinished tasks whose text is in a file with a part that the bucket lacked when it was last wanted.
# LACK_PARTS reads two rows for each unfinished task with a text in a file.
LACK_PARTS = statement("""
SELECT count(*) AS incomplete FROM tasks CROSS JOIN files ON files.id = text_file
WHERE text_file IS NOT NULL AND finished_at IS NULL AND missing IS NOT NULL
""")


class UnfinishedGroup(NamedTuple):
    """A tenant's unfinished tasks of one status and route. `oldest_ms` is the age of the oldest pending one."""

    tenant: str
    status: Status
    route: Route
    tasks: int
    oldest_ms: int | None


class OpenBatches(NamedTuple):
    """How many batches that have not ended have one status, and how many of their lines have no outcome yet."""

    batches: int
    lines: int


class Scrape(NamedTuple):
    """A scrape's figures: `batches` not ended by status, and `totals` of tasks ended up to `until`, in ms."""

    totals: Mapping[tuple[Status, Route], Sums]
    at_work: Sequence[UnfinishedGroup]
    characters: Mapping[str, int]
    seen: Mapping[Seen, int]
    deliveries: Mapping[str, int]
    batches: Mapping[str, OpenBatches]
    until: int | None


@dataclass(slots=True)
class FiveMinutes:
    """The sums over tasks that ended within five minutes, by status, and a sample of the backlog then, if any."""

    ended: dict[Status, Sums] = field(default_factory=dict)
    sample: Backlog | None = None


class TallyStore(Store):
    """Reads the sums. Each method is one call to D1 unless it says otherwise."""

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows of D1 this invocation has read, and how many it has written."""
        return self._database.rows

    async def scrape(self, most: int) -> Scrape:
        """Read the figures for a request for metrics. The figures for metrics count at most `most` unfinished tasks."""
        totals, (until,), at_work, characters, times, (deliveries,), batches = await self._database.run(
            TOTALS.bind(),
            FOLDED_UNTIL.bind(),
            AT_WORK.bind(most=most),
            CHARACTERS_USED.bind(most=limits.METRICS_TENANTS_MOST, read_most=limits.METRICS_TENANTS_READ),
            seen.SEEN.bind(),
            OPEN_DELIVERIES.bind(most=most),
            OPEN_BATCHES.bind(most=most),
        )
        return Scrape(
            totals={(_status(row), Route(d1.text(row, "route"))): _sums(row) for row in totals},
            at_work=[
                UnfinishedGroup(
                    tenant=d1.text(row, "tenant"),
                    status=_status(row),
                    route=Route(d1.text(row, "route")),
                    tasks=d1.whole(row, "tasks"),
                    oldest_ms=d1.maybe_whole(row, "oldest_ms"),
                )
                for row in at_work
            ],
            characters={d1.text(row, "tenant"): d1.whole(row, "characters") for row in characters},
            seen={Seen(d1.text(row, "what")): d1.whole(row, "at") for row in times},
            deliveries={name: d1.whole(deliveries, name) for name in ("unsent", "failing")},
            batches={
                d1.text(row, "state"): OpenBatches(d1.whole(row, "batches"), d1.whole(row, "lines")) for row in batches
            },
            until=d1.maybe_whole(until, "until"),
        )

    async def history(self, back_ms: int) -> tuple[int | None, dict[int, FiveMinutes]]:
        """Read until when sums are whole, and the five minutes of the last `back_ms`, without empty ones."""
        (until,), sums, samples = await self._database.run(
            FOLDED_UNTIL.bind(), HISTORY.bind(back_ms=back_ms), SAMPLES.bind(back_ms=back_ms)
        )
        found: dict[int, FiveMinutes] = {}
        for row in sums:
            found.setdefault(d1.whole(row, "at"), FiveMinutes()).ended[_status(row)] = _sums(row)
        for row in samples:
            found.setdefault(d1.whole(row, "at"), FiveMinutes()).sample = Backlog(
                d1.whole(row, "pending"), d1.whole(row, "processing"), d1.maybe_whole(row, "oldest_ms")
            )
        return d1.maybe_whole(until, "until"), dict(sorted(found.items()))

    async def unreachable(self, most: int) -> int:
        """Count up to `most` unfinished batches and tasks that need the bucket of R2, which is not bound any more."""
        ((row,),) = await self._database.run(NEED_BUCKET.bind(most=most))
        return d1.whole(row, "unreachable")

    async def incomplete(self) -> int:
        """Count the unfinished tasks whose text lacks a part in the bucket."""
        ((row,),) = await self._database.run(LACK_PARTS.bind())
        return d1.whole(row, "incomplete")

    async def applied_migrations(self) -> list[str] | None:
        """Read the migrations that wrangler recorded, newest first, None without its table. One or two calls."""
        (there,) = await self._database.run(HAS_MIGRATIONS.bind())
        if not there:
            return None
        (found,) = await self._database.run(APPLIED_MIGRATIONS.bind())
        return [d1.text(row, "name") for row in found]


def _status(row: Row) -> Status:
    return Status(d1.text(row, "status"))


def _sums(row: Row) -> Sums:
    return {name: d1.whole(row, name) for name in MEASURES}
