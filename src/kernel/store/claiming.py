"""Reads what a worker needs to know of a task that it has just claimed, or why no claim was granted."""

import json
from collections.abc import Iterable, Sequence

from ..calls.model_health import LatestCall
from ..domain.ids import FileKey, TaskKey
from ..domain.task import Status
from . import options, rows
from .claims import CallKey, Claim, ClaimRefusal, FailedCall, Money, SharedCalls, Tries, Unclaimed
from .d1 import Row, maybe_text, maybe_whole, statement, text, whole, whole_list
from .fragments import NOW
from .options import AnswerCounts
from .window import window

_COUNTERS = ("reasks", "rejected", "repaired", "quotes_not_found")


def _key(row: Row) -> CallKey:
    return CallKey(whole(row, "level"), whole(row, "idx"))


def claim(key: TaskKey, holder: str, task: Row, source: Row, covered: Sequence[Row], failures: Sequence[Row]) -> Claim:
    """Build a claim from the rows of its transaction. `covered` are rows with places of outputs."""
    done = _calls(row for row in covered if not row["failed"])
    given_up = [row for row in failures if row["final"] and _key(row) not in done]
    return Claim(
        task_key=key,
        holder=holder,
        fence=whole(task, "fence"),
        step=whole(task, "step"),
        attempts=whole(task, "attempts"),
        stalls=whole(task, "stalls"),
        rest_ms=max(0, whole(task, "rest_left")),
        rate_waits=whole(task, "rate_waits"),
        idle_runs=whole(task, "idle_runs"),
        start_ms=whole(task, "start_ms"),
        options=options.read(task),
        total=whole(task, "total"),
        window=rows.window(source, in_file=task["text_file"] is not None),
        text_file=None if task["text_file"] is None else FileKey(text(task, "text_file")),
        instructions=text(source, "instructions"),
        merge_chars=whole(task, "merge_chars"),
        merges=whole_list(source, "merges"),
        merge_ends=() if source["merge_ends"] is None else whole_list(source, "merge_ends"),
        calls_settled=whole(task, "calls_settled"),
        calls_in_doubt=whole(task, "calls_in_doubt"),
        input_tokens=whole(task, "input_tokens"),
        output_tokens=whole(task, "output_tokens"),
        cached_tokens=whole(task, "cached_tokens"),
        money=Money(maybe_whole(task, "cost"), whole(task, "cost_in_doubt")),
        truncated=whole(task, "truncated"),
        outputs=done,
        tried={_key(row): _tried(row) for row in failures if not row["final"]},
        paused={_key(row): whole(row, "pause_left") for row in failures if row["pause_left"]},
        held=tuple(_held(row) for row in failures if row["held"] is not None and _key(row) not in done),
        failed_for_good={_key(row): rows.call_failure(row) for row in given_up if row["gap_chars"] is None},
        announced=rows.keys(task, "in_flight"),
        doubted=rows.keys(task, "doubted"),
        deadline_left_ms=maybe_whole(task, "deadline_left"),
        claimed_ms=whole(task, "announced_at"),
        away_ms=maybe_whole(task, "away_ms"),
        away_waits=whole(task, "away_waits"),
        resumed=bool(task["resumed"]),
        last_error=rows.last_error(task),
        pace_ms=maybe_whole(task, "pace_ms"),
        shared=shared(task),
        characters=whole(source, "characters"),
        output_schema=maybe_text(source, "output_schema"),
        join_rules=options.join_rules(source) or {},
        inherited=options.inherited(source),
        headings=maybe_text(source, "headings"),
        rejections={_key(row): found for row in failures if (found := options.rejection(row)) is not None},
        chunk_chars={_key(row): whole(row, "gap_chars") for row in failures if row["gap_chars"] is not None},
        gaps={_key(row): _gap(row) for row in given_up if row["gap_chars"] is not None},
        capped=bool(task["capped"]),
        kind=rows.kind_of(task),
        left_out=_calls(row for row in covered if row["failed"]) - done,
        answer_counts=AnswerCounts(**{name: whole(task, name) for name in _COUNTERS}),
    )


def _calls(covered: Iterable[Row]) -> frozenset[CallKey]:
    return frozenset(
        CallKey(whole(row, "level"), int(position)) for row in covered for position in text(row, "places").split(",")
    )


def shared(row: Row) -> SharedCalls | None:
    """Read the latest calls with a model that isolates have written to the database."""
    found = maybe_text(row, "shared")
    if found is None:
        return None
    failed_ms, calls = json.loads(found)
    return SharedCalls(tuple(LatestCall(chunk, at, bool(succeeded)) for chunk, at, succeeded in calls), failed_ms)


def _tried(row: Row) -> Tries:
    return Tries(whole(row, "attempts"), whole(row, "calls"), whole(row, "counted"))


def _held(row: Row) -> FailedCall:
    started, failed = whole_list(row, "held")
    return FailedCall(_key(row), _tried(row), False, rows.call_failure(row), None, (started, failed))


def _gap(row: Row) -> FailedCall:
    rejection, chars = options.rejection(row), whole(row, "gap_chars")
    return FailedCall(_key(row), _tried(row), True, rows.call_failure(row), rejection=rejection, gap_chars=chars)


def unclaimed(rows: Sequence[Row]) -> Unclaimed:
    """Read from the STANDING row why a claim was not granted."""
    if not rows:
        return Unclaimed(ClaimRefusal.MISSING)
    status = Status(text(rows[0], "status"))
    if status.terminal:
        return Unclaimed(ClaimRefusal.TERMINAL)
    if rows[0]["overdue"] or not rows[0]["known_kind"]:
        return Unclaimed(ClaimRefusal.OVERDUE if rows[0]["known_kind"] else ClaimRefusal.UNKNOWN_KIND)
    if status is Status.PROCESSING:
        # A host takes its own task over at once, unless the task rests.
        if predecessor(rows) is None and rows[0]["own_fence"] is not None:
            return Unclaimed(ClaimRefusal.EARLY, max(0, whole(rows[0], "rest_left")))
        return Unclaimed(ClaimRefusal.HELD, max(0, whole(rows[0], "lease_left"), whole(rows[0], "rest_left")))
    return Unclaimed(ClaimRefusal.EARLY, max(0, whole(rows[0], "wait_left")))


def predecessor(rows: Sequence[Row]) -> int | None:
    """Read the fence of an earlier instance of the host that holds the task; None without, or while it rests."""
    return maybe_whole(rows[0], "own_fence") if rows and (maybe_whole(rows[0], "rest_left") or 0) <= 0 else None


# CLAIM_TEXT, CLAIM_OUTPUTS and CLAIM_FAILURES follow CLAIM in its transaction, for the claim's holder alone.
_HELD = "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND holder = :holder AND status = 'processing')"
# Reads the text of the chunks that the run begins with. Most outputs are of chunks at the start of the text, so the
# number of outputs tells where the run begins. CLAIM_TEXT also reads how many calls each planned merge level has, and
# the plan of the highest planned level.
_MERGES = """(
    SELECT json_group_array(calls) FROM (
      SELECT json_array_length(ends) AS calls FROM merges WHERE task_id = :task_key ORDER BY level
    )
  ) AS merges,
  (SELECT ends FROM merges WHERE task_id = :task_key ORDER BY level DESC LIMIT 1) AS merge_ends,
  coalesce(cuts ->> '$[#-1]', 0) AS characters, output_schema, join_rules, inherited, headings"""
CLAIM_TEXT = statement(window("(SELECT completed FROM tasks WHERE id = :task_key)", _HELD, also=_MERGES))

# Reads which outputs of a task exist: the positions in each segment, without the texts. The lines of a batch that
# failed for good are positions too; they have `failed` = 1. The worker splits the lists of positions itself, because
# SQLite would read a row for each position, several times over: 110,000 rows at each claim of a batch of 20,000 lines.
_IS_BATCH = "EXISTS (SELECT 1 FROM tasks WHERE id = :task_key AND kind = 'batch')"
CLAIM_OUTPUTS = statement(f"""
SELECT level, 0 AS failed, places FROM segments WHERE task_id = :task_key AND {_HELD}
UNION ALL
SELECT level, 1, group_concat(idx) FROM failures
WHERE task_id = :task_key AND final = 1 AND gap_chars >= 0 AND {_IS_BATCH} AND {_HELD} GROUP BY level
""")
# CLAIM_FAILURES reads the failed calls of a task. A row without calls is left out: a client has retried the task, and
# since then the row has only a log. The lines of a batch that failed for good are read by CLAIM_OUTPUTS.
CLAIM_FAILURES = statement(f"""
SELECT level, idx, attempts, calls, counted, final, code, message, retryable,
  max(0, rests_until - {NOW}) AS pause_left, held, rung, gap_chars
FROM failures WHERE task_id = :task_key AND (calls > 0 OR final = 1) AND {_HELD}
  AND NOT (final = 1 AND coalesce(gap_chars, -1) >= 0 AND {_IS_BATCH}) ORDER BY level, idx
""")
