"""Maintains and reads the sums over ended tasks, and other figures for metrics and plots."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...kernel.domain import limits
from ...kernel.domain.ids import TaskKey
from ...kernel.domain.task import Route, Status
from ...kernel.store import d1, seen, tallies
from ...kernel.store.d1 import BoundStatement, Row, Store, Value, as_json
from ...kernel.store.latest_calls import FORGET_CALLS
from ...kernel.store.seen import Seen
from ...kernel.store.tallies import MEASURES, Sums


class Fold(NamedTuple):
    """Ended tasks to add to the sums: those with the retention `kept_ms` that ended after `after`, up to `until`."""

    kept_ms: int
    after: int
    until: int


class Foldable(NamedTuple):
    """Which ended tasks the next fold adds to the sums over ended tasks.

    `more` says that there are further ended tasks, which are added later. `sampled` says that the backlog was already
    sampled in the current period of five minutes. `silent` are ended tasks whose open calls no worker can settle any
    more: those were announced at least `claim_ms` ago.
    """

    folds: Sequence[Fold]
    more: bool
    sampled: bool
    silent: Sequence[TaskKey]
    claim_ms: int


class UnfinishedGroup(NamedTuple):
    """A tenant's unfinished tasks with one status and one route.

    `oldest_ms` is the age of the oldest pending task of the group.
    """

    tenant: str
    status: Status
    route: Route
    tasks: int
    oldest_ms: int | None


class Sample(NamedTuple):
    """The backlog at one moment: how many tasks were unfinished, and how old the oldest pending task was."""

    pending: int
    processing: int
    oldest_ms: int | None


class OpenBatches(NamedTuple):
    """How many batches that have not ended have one status, and how many of their lines have no outcome yet."""

    batches: int
    lines: int


class Scrape(NamedTuple):
    """The figures that one request for metrics shows.

    `batches` counts the batches that have not ended, by status. `totals` are the sums over all tasks that ended up to
    the time `until` (ms since the epoch).
    """

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
    sample: Sample | None = None


class TallyStore(Store):
    """Adds ended tasks to the sums, and reads the sums.

    Each method of `TallyStore` is one call to D1 unless it says otherwise.
    """

    @property
    def rows(self) -> tuple[int, int]:
        """How many rows of D1 this invocation has read, and how many it has written."""
        return self._database.rows

    async def foldable(self, kept_ms: Sequence[int], most: int, claim_ms: int) -> Foldable:
        """Find the tasks that ended since tasks were last added to the sums, about `most` of each retention.

        `kept_ms` are the retentions, in ms, that new tasks get today. `claim_ms` is the longest time from the
        announcement of a call to its record.
        """
        found, silent, (sampled,) = await self._database.run(
            tallies.FOLDABLE.bind(kept_ms=as_json(kept_ms), most=most),
            tallies.SILENT.bind(claim_ms=claim_ms, most=most),
            tallies.IS_SAMPLED.bind(),
        )
        folds = [_fold(row) for row in found if row["some"]]
        more = any(row["beyond"] is not None for row in found) or len(silent) == most
        return Foldable(folds, more, bool(sampled["is_there"]), [d1.task_key(row) for row in silent], claim_ms)

    async def fold(self, found: Foldable, most: int) -> None:
        """Add the found tasks and open calls to the sums.

        Once in five minutes, sample the backlog by counting up to `most` tasks, and forget what is too old. If there is
        nothing to add and nothing to sample, `fold` makes no call to D1.
        """
        batch: list[BoundStatement] = []
        if found.silent:
            open_calls: dict[str, Value] = {"task_keys": as_json(found.silent), "claim_ms": found.claim_ms}
            batch += [tallies.COUNT_SILENT.bind(**open_calls), tallies.DOUBT_SILENT.bind(**open_calls)]
        for one in found.folds:
            batch += [
                tallies.FOLD.bind(kept_ms=one.kept_ms, after=one.after, until=one.until),
                tallies.FOLDED.bind(kept_ms=one.kept_ms, after=one.after, until=one.until),
            ]
        if not found.sampled:
            batch += [
                tallies.SAMPLE.bind(most=most),
                tallies.FORGET_TALLIES.bind(),
                tallies.FORGET_SAMPLES.bind(),
                tallies.FORGET_USE.bind(most=limits.FORGOTTEN_MOST),
                FORGET_CALLS.bind(kept_ms=round(limits.OTHERS_SECONDS * 1000), most=limits.FORGOTTEN_MOST),
            ]
        if batch:
            await self._database.run(*batch)

    async def scrape(self, most: int) -> Scrape:
        """Read the figures for a request for metrics. The figures for metrics count at most `most` unfinished tasks."""
        totals, (until,), at_work, characters, times, (deliveries,), batches = await self._database.run(
            tallies.TOTALS.bind(),
            tallies.FOLDED_UNTIL.bind(),
            tallies.AT_WORK.bind(most=most),
            tallies.CHARACTERS_USED.bind(most=limits.METRICS_TENANTS_MOST, read_most=limits.METRICS_TENANTS_READ),
            seen.SEEN.bind(),
            tallies.OPEN_DELIVERIES.bind(most=most),
            tallies.OPEN_BATCHES.bind(most=most),
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

    async def history(self, hours: int) -> tuple[int | None, dict[int, FiveMinutes]]:
        """Read the sums and samples of the last hours, in periods of five minutes, with the beginning of each period.

        The first value that `history` returns is the time up to which the sums contain all ended tasks. Periods without
        any data are left out.
        """
        back_ms = hours * 3_600_000
        (until,), sums, samples = await self._database.run(
            tallies.FOLDED_UNTIL.bind(), tallies.HISTORY.bind(back_ms=back_ms), tallies.SAMPLES.bind(back_ms=back_ms)
        )
        found: dict[int, FiveMinutes] = {}
        for row in sums:
            found.setdefault(d1.whole(row, "at"), FiveMinutes()).ended[_status(row)] = _sums(row)
        for row in samples:
            found.setdefault(d1.whole(row, "at"), FiveMinutes()).sample = Sample(
                d1.whole(row, "pending"), d1.whole(row, "processing"), d1.maybe_whole(row, "oldest_ms")
            )
        return d1.maybe_whole(until, "until"), dict(sorted(found.items()))

    async def unreachable(self, most: int) -> int:
        """Count up to `most` unfinished batches and tasks that need the bucket of R2, which is not bound any more."""
        ((row,),) = await self._database.run(tallies.NEED_BUCKET.bind(most=most))
        return d1.whole(row, "unreachable")

    async def applied_migration(self) -> str | None:
        """Read the name of the newest migration that wrangler has applied, in one or two calls to D1.

        Returns None if wrangler's table of migrations does not exist.
        """
        (there,) = await self._database.run(tallies.HAS_MIGRATIONS.bind())
        if not there:
            return None
        (found,) = await self._database.run(tallies.NEWEST_MIGRATION.bind())
        return d1.text(found[0], "name") if found else None


def _fold(row: Row) -> Fold:
    after, beyond = d1.whole(row, "until"), d1.maybe_whole(row, "beyond")
    # Tasks that ended in the same millisecond are added together, so there may be more than `most`.
    until = d1.whole(row, "now") if beyond is None else max(after + 1, beyond - 1)
    return Fold(d1.whole(row, "kept_ms"), after, until)


def _status(row: Row) -> Status:
    return Status(d1.text(row, "status"))


def _sums(row: Row) -> Sums:
    return {name: d1.whole(row, name) for name in MEASURES}
