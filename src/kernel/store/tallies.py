"""The sums over ended tasks: which numbers of a task are added up, each end once, and what can be read from the sums.

A *fold* adds to the sums the tasks that have ended since the last fold. A fold finds these tasks through the index over
the times when tasks are to be erased. It takes one retention at a time, because only tasks with the same retention are
erased in the order in which they ended. A fold does not change the rows of the tasks.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ..domain import limits
from ..domain.codes import TaskCode
from ..domain.ids import TaskKey
from ..domain.task import DEADLINE_EXCEEDED
from .d1 import BoundStatement, Row, Statement, Store, Value, as_json, maybe_whole, statement, task_key, whole
from .fragments import IN_DOUBT, LISTED, NOW, UNDER_CLAIM
from .latest_calls import FORGET_CALLS

# For each of the following durations in ms, the sums count the tasks that took at most that long.
BOUNDS_MS: Final = (500, 2_000, 10_000, 30_000, 60_000, 300_000, 1_800_000, 7_200_000)
# A retried task keeps its earlier counts, so when it ends again, the sums add only what no earlier end has added. The
# column `tasks.counted` refers to the items of BILLED by their position, so a new item must be added at the end.
ANSWERS: Final = ("asked_again", "rejections", "repairs")
MONEY: Final = ("cached_input", "cost_booked", "cost_doubted")
MISSED_QUOTES: Final = "missed_quotes"
_CALLS: Final = ("calls", "in_doubt", "fruitless", "truncated", "input_tokens", "output_tokens")
BILLED: Final = (*_CALLS, *ANSWERS, *MONEY, MISSED_QUOTES)
# For each error code, the name of the column that counts in the sums the tasks that failed with this code.
FAILED_WITH: Final = {code: f"failed_{code}" for code in TaskCode}
COUNTS: Final = ("ended", "retries", "dead_letters", "gap_chunks", *FAILED_WITH.values())
DURATIONS: Final = ("waited", "took")


def duration_columns(name: str) -> tuple[str, ...]:
    """Return the column names for the sums of one duration: tasks, total in ms, and tasks up to each of BOUNDS_MS."""
    return (name, f"{name}_ms", *(f"{name}_le_{bound}" for bound in BOUNDS_MS))


MEASURES: Final = (*COUNTS, *BILLED, *(column for name in DURATIONS for column in duration_columns(name)))

type Sums = Mapping[str, int]

BUCKET_MS = round(limits.HISTORY_BUCKET_SECONDS * 1000)
_KEPT_MS = round(limits.HISTORY_SECONDS * 1000)
_BUCKET = f"({NOW} / {BUCKET_MS} * {BUCKET_MS})"

# --- The values of a task that are added ------------------------------------------------------------------------

_ENDED_AT = f"coalesce(finished_at, max(created_at, {NOW}))"
_BEGAN_AT = "max(created_at, coalesce(starts_at, 0))"  # A task that is to start later does not wait before.
_ANSWER_COLUMNS = dict(zip(ANSWERS, ("reasks", "rejected", "repaired"), strict=True))


def _bill(doubt: str, doubtful: str) -> dict[str, str]:
    sent = f"(calls_settled + {doubt})"
    return {
        "calls": sent,
        "in_doubt": doubt,
        "fruitless": f"max(0, {sent} - CASE status WHEN 'completed' THEN calls_minimum - failed ELSE completed END)",
        "truncated": "truncated",
        "input_tokens": "input_tokens",
        "output_tokens": "output_tokens",
        **_ANSWER_COLUMNS,
        "cached_input": "cached_tokens",
        "cost_booked": "coalesce(cost, 0)",
        "cost_doubted": doubtful,
        MISSED_QUOTES: "quotes_not_found",
    }


# While the worker of an ended task may still settle its calls, announced calls without a recorded end are not added.
# Then, or when the task is erased, they count as in doubt: `_WHOLE_BILL`. An unfinished task is added only when it is
# erased: it then counts as cancelled at the time of the erasure.
_BILL = _bill("calls_in_doubt", "cost_in_doubt")
_WHOLE_BILL = _bill("(calls_in_doubt + json_array_length(in_flight))", "(cost_in_doubt + cost_out)")
assert tuple(_BILL) == BILLED
_COUNTED = {name: f"coalesce(counted ->> {place}, 0)" for place, name in enumerate(BILLED)}
_FRESH = "generation = 0"
_SPANS = {
    "waited": (f"({_FRESH} AND started_at IS NOT NULL)", f"(started_at - {_BEGAN_AT})"),
    "took": (f"({_FRESH})", f"max(0, {_ENDED_AT} - {_BEGAN_AT})"),
}


def _span(name: str) -> dict[str, str]:
    counts, length = _SPANS[name]
    return {
        name: counts,
        f"{name}_ms": f"CASE WHEN {counts} THEN {length} ELSE 0 END",
        **{f"{name}_le_{bound}": f"coalesce({counts} AND {length} <= {bound}, 0)" for bound in BOUNDS_MS},
    }


def _end(bill: dict[str, str]) -> dict[str, str]:
    """Return the values of a task that ended, with one of the two bills."""
    return {
        "ended": "1",
        "retries": "(generation > 0)",
        "dead_letters": f"(error_code IS '{TaskCode.DEAD_LETTERED}')",
        "gap_chunks": "CASE status WHEN 'completed' THEN failed ELSE 0 END",
        **{column: f"(status = 'failed' AND error_code IS '{code}')" for code, column in FAILED_WITH.items()},
        **{name: f"max(0, {value} - {_COUNTED[name]})" for name, value in bill.items()},
        **{column: value for name in DURATIONS for column, value in _span(name).items()},
    }


def _more(bill: dict[str, str]) -> dict[str, str]:
    """Return what a later bill of an ended task adds if the task is already in the sums."""
    return {name: f"max(0, {value} - max({_COUNTED[name]}, {_BILL[name]}))" for name, value in bill.items()}


assert tuple(_end(_BILL)) == MEASURES


def _add(added: dict[str, str], where: str) -> str:
    """Return the SQL that adds measures of tasks to two kinds of sums: of all time, and of five minutes each."""
    return f"""
INSERT INTO tallies (at, status, route, {", ".join(added)})
SELECT value * bucket AS at, status, route, {", ".join(f"sum({name})" for name in added)} FROM (
  SELECT {_ENDED_AT} / {BUCKET_MS} * {BUCKET_MS} AS bucket,
    CASE WHEN finished_at IS NULL THEN 'cancelled' ELSE status END AS status, route,
    {", ".join(f"{value} AS {name}" for name, value in added.items())}
  FROM tasks WHERE {where}
) CROSS JOIN json_each('[0,1]') WHERE value = 0 OR bucket > {NOW} - {_KEPT_MS}
GROUP BY 1, 2, 3
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in added)}
"""


# A condition: the task has ended, and no fold has added it to the sums yet.
UNCOUNTED = """finished_at > coalesce((SELECT until FROM folds WHERE kept_ms = wake_at - finished_at), 0)"""
# A condition: the task has ended, and some of its announced calls have no recorded end.
_OPEN_CALLS = "finished_at IS NOT NULL AND in_flight <> '[]'"
# A condition: the sums lack something of a task that is erased now.
LACKING = f"({UNCOUNTED} OR {_OPEN_CALLS})"


def count_retried(where: str) -> str:
    """Return the SQL that adds those tasks to the sums that are about to be retried and that no fold has added yet."""
    return _add(_end(_BILL), f"{where} AND {UNCOUNTED}")


def count_erased(where: str) -> tuple[Statement, Statement]:
    """Return the statements that add to the sums what they lack of tasks that are about to be erased."""
    return (
        statement(_add(_end(_WHOLE_BILL), f"{where} AND (finished_at IS NULL OR {UNCOUNTED})")),
        statement(_add(_more(_WHOLE_BILL), f"{where} AND {_OPEN_CALLS} AND NOT {UNCOUNTED}")),
    )


# Which part of a task's bill the sums have since its latest end that was added: see the column `tasks.counted`.
COUNTED = f"json_array({', '.join(f'max({_COUNTED[name]}, {value})' for name, value in _BILL.items())})"

# --- The fold -----------------------------------------------------------------------------------------------

_ENDED_BETWEEN = "finished_at IS NOT NULL AND wake_at > {after} + {kept_ms} AND wake_at <= {until} + {kept_ms}"
# A fold adds only tasks that ended before the current millisecond, in which more may end.
_TO = f"({NOW} - 1)"
_OPEN = f"""FROM tasks INDEXED BY tasks_to_erase
  WHERE {_ENDED_BETWEEN.format(after="kinds.until", kept_ms="kinds.kept_ms", until=_TO)}"""

# Says for each retention up to what time its ended tasks are folded, whether tasks have ended since, and at what time a
# fold of `:most` tasks must stop, or NULL if the fold can take all tasks. `:kept_ms` is a JSON list of the retentions
# that new tasks get today; the retentions of earlier folds are added to the list. FOLDABLE reads one index entry for
# each task, and for each retention at most twice `:most` entries.
FOLDABLE = statement(f"""
WITH kinds (kept_ms, until) AS (
  SELECT kept_ms, until FROM folds
  UNION ALL SELECT DISTINCT value, 0 FROM json_each(:kept_ms) WHERE value NOT IN (SELECT kept_ms FROM folds)
)
SELECT kept_ms, until, {_TO} AS now, EXISTS (SELECT 1 {_OPEN}) AS some,
  (SELECT wake_at - kinds.kept_ms {_OPEN} ORDER BY wake_at LIMIT 1 OFFSET :most) AS beyond
FROM kinds ORDER BY kept_ms
""")

# Adds to the sums the tasks with the retention `:kept_ms` that ended after `:after` and not after `:until`. `:after`
# must be the time at which the last fold stopped, so that FOLD adds nothing if it is sent again or arrives after
# another fold. Goes before FOLDED.
_UNFOLDED = "coalesce((SELECT until FROM folds WHERE kept_ms = :kept_ms), 0) = :after"
FOLD = statement(
    _add(
        _end(_BILL),
        f"""{_ENDED_BETWEEN.format(after=":after", kept_ms=":kept_ms", until=":until")}
    AND wake_at - finished_at = :kept_ms AND {_UNFOLDED}""",
    )
)
FOLDED = statement("""
INSERT INTO folds (kept_ms, until) VALUES (:kept_ms, :until)
ON CONFLICT DO UPDATE SET until = excluded.until WHERE until = :after
""")

# If a worker settles the bill of a task that was cancelled or passed its deadline and that was already added to the
# sums, this statement adds the settled part to the sums. SETTLE_LATE must run before all other statements that write
# the bill, with the same totals as they have. If SETTLE_LATE is sent again, or arrives after a later write, it adds
# nothing. The counters of ANSWERS are NULL if they have not changed.
_SETTLED = {
    "calls": "(:calls_settled + :calls_in_doubt)",
    "in_doubt": ":calls_in_doubt",
    "fruitless": "max(0, :calls_settled + :calls_in_doubt - :completed)",
    "truncated": ":truncated",
    "input_tokens": ":input_tokens",
    "output_tokens": ":output_tokens",
    **{name: f"coalesce(:{column}, {column})" for name, column in _ANSWER_COLUMNS.items()},
    "cached_input": ":cached_tokens",
    "cost_booked": "coalesce(:cost, 0)",
    "cost_doubted": ":cost_in_doubt",
    MISSED_QUOTES: "coalesce(:quotes_not_found, quotes_not_found)",
}
assert tuple(_SETTLED) == BILLED
SETTLE_LATE = statement(
    _add(
        _more(_SETTLED),
        f"""id = :task_key AND {UNDER_CLAIM} AND step <= :step
    AND (status = 'cancelled' OR error_code = '{DEADLINE_EXCEEDED}') AND NOT {UNCOUNTED}
    AND {" + ".join(_more(_SETTLED).values())} > 0""",
    )
)

# --- Calls of a dead worker -----------------------------------------------------------------------------------
# A task that a client or its deadline has ended keeps its announced calls, so that its worker can settle them. If the
# worker died, nobody settles them.

# A condition: no worker can settle the open calls of an ended task any more. `:claim_ms` is the longest time from the
# announcement of a call to its record.
_IS_SILENT = f"{_OPEN_CALLS} AND announced_at + :claim_ms <= {NOW}"

# Finds up to `:most` ended tasks whose open calls no worker can settle any more. SILENT reads no other tasks.
SILENT = statement(f"SELECT id FROM tasks INDEXED BY tasks_with_open_calls WHERE {_IS_SILENT} LIMIT :most")

# Put the open calls of the given tasks in doubt, and add them to the sums if the task is already in them. The task's
# fence rises, so that a worker that lives all the same settles nothing. COUNT_SILENT goes before DOUBT_SILENT.
COUNT_SILENT = statement(_add(_more(_WHOLE_BILL), f"{LISTED} AND {_IS_SILENT} AND NOT {UNCOUNTED}"))
DOUBT_SILENT = statement(
    f"UPDATE tasks SET fence = fence + 1, doubted = in_flight, {IN_DOUBT} WHERE {LISTED} AND {_IS_SILENT}"
)

# --- What there is to do --------------------------------------------------------------------------------------

GOING_ON = f"""(SELECT tenant, status, route, {NOW} - {_BEGAN_AT} AS age_ms
  FROM tasks INDEXED BY tasks_to_wake WHERE finished_at IS NULL LIMIT :most)"""

# Says whether the backlog was already sampled in the current period of five minutes.
IS_SAMPLED = statement(f"SELECT EXISTS (SELECT 1 FROM samples WHERE at = {_BUCKET}) AS is_there")

# Records for the first `:most` unfinished tasks how many are pending and how many are processing. Of several runs of
# SAMPLE within the same five minutes, only the first records anything.
SAMPLE = statement(f"""
INSERT INTO samples (at, pending, processing, oldest_ms)
SELECT {_BUCKET}, coalesce(sum(status = 'pending'), 0), coalesce(sum(status = 'processing'), 0),
  max(0, max(age_ms) FILTER (WHERE status = 'pending'))
FROM {GOING_ON} WHERE NOT EXISTS (SELECT 1 FROM samples WHERE at = {_BUCKET})
ON CONFLICT DO NOTHING
""")

# FORGET_TALLIES and FORGET_SAMPLES delete the sums over five minutes, and the samples, that are older than two days.
# FORGET_USE deletes up to `:most` counts of characters of days that are over. It reads a row for each tenant, and so
# only in the first five minutes of an hour.
FORGET_TALLIES = statement(f"DELETE FROM tallies WHERE at > 0 AND at <= {NOW} - {_KEPT_MS}")
FORGET_SAMPLES = statement(f"DELETE FROM samples WHERE at <= {NOW} - {_KEPT_MS}")
FORGET_USE = statement(f"""
DELETE FROM daily_use WHERE tenant IN (
  SELECT tenant FROM daily_use WHERE day < {NOW} / 86400000 AND {NOW} % 3600000 < {BUCKET_MS} LIMIT :most
)
""")

# --- Tenants ---------------------------------------------------------------------------------------------------

# Reads up to `:most` tenants that have tasks, in the order of their task keys, from the first task key that is not
# below `:first`. TENANTS reads one row for each tenant.
TENANTS = statement("""
WITH RECURSIVE found (tenant) AS (
  SELECT (SELECT tenant FROM tasks WHERE id >= :first ORDER BY id LIMIT 1)
  UNION ALL
  SELECT (SELECT tasks.tenant FROM tasks WHERE id >= found.tenant || ';' ORDER BY id LIMIT 1)
  FROM found WHERE found.tenant IS NOT NULL LIMIT :most
)
SELECT tenant FROM found WHERE tenant IS NOT NULL
""")

# Adds up those of the newest `:most` tasks of a tenant that were created within the last `:back_ms`, by status and
# error code. The tenant's task keys are from `:first` on and below `:behind`. FIGURES reads one row for each task.
FIGURES = statement(f"""
SELECT status, error_code, count(*) AS tasks,
  sum(calls_settled + calls_in_doubt + json_array_length(in_flight)) AS calls, sum(calls_in_doubt) AS in_doubt,
  sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
  sum(cost) AS cost, sum(cost_in_doubt) AS cost_in_doubt
FROM (
  SELECT status, error_code, calls_settled, calls_in_doubt, in_flight, input_tokens, output_tokens, cost, cost_in_doubt,
    created_at
  FROM tasks WHERE id >= :first AND id < :behind ORDER BY id DESC LIMIT :most
) WHERE created_at > {NOW} - :back_ms GROUP BY status, error_code ORDER BY status, error_code
""")

# --- The store ------------------------------------------------------------------------------------------------


class Fold(NamedTuple):
    """Ended tasks to add to the sums: those with the retention `kept_ms` that ended after `after`, up to `until`."""

    kept_ms: int
    after: int
    until: int


class Foldable(NamedTuple):
    """Which ended tasks the next fold adds to the sums over ended tasks.

    `more` says that there are further ended tasks, which are added later. `sampled` says that the backlog was already
    sampled in these five minutes. `silent` are ended tasks whose open calls were announced at least `claim_ms` ago, so
    that no worker can settle them.
    """

    folds: Sequence[Fold]
    more: bool
    sampled: bool
    silent: Sequence[TaskKey]
    claim_ms: int


class Tallies(Store):
    """Adds ended tasks to the sums. Each method is one call to D1."""

    async def foldable(self, kept_ms: Sequence[int], most: int, claim_ms: int) -> Foldable:
        """Find the tasks that ended since tasks were last added to the sums, about `most` of each retention.

        `kept_ms` are the retentions that new tasks get. `claim_ms` is the longest time from a call's announcement to
        its record.
        """
        found, silent, (sampled,) = await self._database.run(
            FOLDABLE.bind(kept_ms=as_json(kept_ms), most=most),
            SILENT.bind(claim_ms=claim_ms, most=most),
            IS_SAMPLED.bind(),
        )
        folds = [_fold(row) for row in found if row["some"]]
        more = any(row["beyond"] is not None for row in found) or len(silent) == most
        return Foldable(folds, more, bool(sampled["is_there"]), [task_key(row) for row in silent], claim_ms)

    async def fold(self, found: Foldable, most: int) -> None:
        """Add the found tasks and open calls to the sums.

        Once in five minutes, sample the backlog by counting up to `most` tasks, and forget what is too old. If there is
        nothing to add and nothing to sample, `fold` makes no call to D1.
        """
        batch: list[BoundStatement] = []
        if found.silent:
            open_calls: dict[str, Value] = {"task_keys": as_json(found.silent), "claim_ms": found.claim_ms}
            batch += [COUNT_SILENT.bind(**open_calls), DOUBT_SILENT.bind(**open_calls)]
        for one in found.folds:
            batch += [FOLD.bind(**one._asdict()), FOLDED.bind(**one._asdict())]
        if not found.sampled:
            batch += [
                SAMPLE.bind(most=most),
                FORGET_TALLIES.bind(),
                FORGET_SAMPLES.bind(),
                FORGET_USE.bind(most=limits.FORGOTTEN_MOST),
                FORGET_CALLS.bind(kept_ms=round(limits.OTHERS_SECONDS * 1000), most=limits.FORGOTTEN_MOST),
            ]
        if batch:
            await self._database.run(*batch)


def _fold(row: Row) -> Fold:
    after, beyond = whole(row, "until"), maybe_whole(row, "beyond")
    # Tasks that ended in the same millisecond are added together, so there may be more than `most`.
    until = whole(row, "now") if beyond is None else max(after + 1, beyond - 1)
    return Fold(whole(row, "kept_ms"), after, until)
