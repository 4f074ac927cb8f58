"""Checks that the log of a task's calls agrees with the bill and with the simulated model's records, once all is quiet.

The module reads the log as the API does. The model must have answered at least as many calls with each kind of end as
the log has. Each call that the bill counts as answered must be in the log, except in three cases: the log keeps no more
calls for its output, a full database or an older isolate kept the call from being logged, or two tasks share the
model's records.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from simulator.campaign.checks.invariants import Invariants
from simulator.campaign.subject.row_changes import InvariantBroken, Row
from simulator.platform.world import World
from src.features.attempts import log as attempts
from src.features.attempts.log import AttemptIndex, AttemptOutcome, CallAttempt
from src.kernel.domain import limits
from src.kernel.store.d1 import BoundStatement

LOGS_JUDGED: Final = "logs that agree with the model's books, with failed calls"
LOGS_JUDGED_EXACTLY: Final = "logs that have each call of the bill, with failed calls"
# For the code of a failed call in the log: the name of this end of a call in the simulated model's records.
_ENDS: Final = {
    "model_unavailable": "5xx",
    "model_rate_limited": "429",
    "model_reply_malformed": "malformed",
    "model_refused": "refused",
    "model_misconfigured": "refused",
    "invalid_output": "unfit",
    "output_truncated": "cut",
}
_WHOLE: Final = {"level": 0, "idx": 0, "last_level": 1_000, "last_idx": 1_000_000}


def check_log(invariants: Invariants, world: World, row: Row, *, complete: bool) -> None:
    """Check the log of one task's calls. Raises InvariantBroken.

    `complete` says that no older isolate and no full database has kept a call from being logged.
    """
    index, log = read_log(world, row)
    failed = [one for one in log if one.outcome is AttemptOutcome.FAILED]
    counts = index.counts.of
    shown = Counter(one.outcome for one in log)
    _require(row, shown == {outcome: many for outcome, many in counts.items() if many}, "other calls than counted")
    _require(row, index.calls == row.sent, f"a log of {index.calls} calls, {row.sent} on the bill")
    for one in failed:
        times = one.started_ms, one.ended_ms
        _require(row, None in times or times[0] <= times[1], f"a call that ended before it began: {one}")  # type: ignore[operator]
    answered = len(index.sizes) + sum(one.answered is True for one in failed)
    # A worker whose task has ended records the outputs that it got before it settles the bill. If the worker dies
    # between the writes of the outputs and of the bill, the bill still counts these calls as in doubt.
    doubt = row.in_doubt + row.announced
    _require(row, answered <= row.settled + doubt, f"{answered} answered calls in the log, {row.settled} on the bill")
    tag = invariants.tags[row.task_key]
    books: Counter[str] = Counter()
    for (_, end), many in invariants.answers[tag].items():
        books[end] += many
    codes = Counter(str(one.code) for one in failed if one.answered)
    for code, many in codes.items():
        _require(row, many <= books[_ENDS[code]], f"{many} calls with {code} in the log, the model has {books}")
    _require(row, len(index.sizes) <= books["ok"], f"{len(index.sizes)} outputs, the model has {books}")
    invariants.judged[LOGS_JUDGED] += bool(failed)
    kept = max(index.failed.values(), default=0) < limits.ATTEMPTS_LOGGED_MOST
    if complete and kept:
        _require(row, answered >= row.settled, f"{answered} answered calls in the log, {row.settled} on the bill")
        invariants.judged[LOGS_JUDGED_EXACTLY] += bool(failed)


def read_log(world: World, row: Row) -> tuple[AttemptIndex, list[CallAttempt]]:
    """Read the log of all calls of a task, as the API shows them."""
    key = {"task_key": row.task_key}
    (task,), outputs, failures = (
        _rows(world, one.bind(**key)) for one in (attempts.CALLS, attempts.OUTPUTS, attempts.FAILURES)
    )
    index = attempts.index_of(task, outputs, failures, "simulated-1")
    bodies, logs = (_rows(world, one.bind(**key, **_WHOLE)) for one in (attempts.SOME_OUTPUTS, attempts.SOME_FAILURES))
    keys, is_last = index.page(AttemptOutcome, None, 1_000_000, 1_000_000_000)
    assert is_last
    return index, index.attempts(keys, bodies, logs)


def _rows(world: World, query: BoundStatement) -> list[Mapping[str, Any]]:
    found = world.database.connection.execute(query.sql, query.values)
    names = [column[0] for column in found.description]
    return [dict(zip(names, values, strict=True)) for values in found]


def _require(row: Row, holds: bool, what: str) -> None:
    if not holds:
        raise InvariantBroken(f"{row.task_key} ({row.status}, fence {row.fence}): {what}")
