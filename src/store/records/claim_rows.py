"""Makes a `Claim` from the rows of its transaction, or reads from them why no claim was granted."""

import json
from collections.abc import Iterable, Sequence

from ...core.calls.latest_calls import LatestCall
from ...core.files import FileKey
from ...core.ids import TaskKey
from ...core.states import Status
from ..d1.columns import maybe_text, maybe_whole, text, whole, whole_list
from ..d1.database import Row
from . import options, rows, structures, waiting_for
from .claims import (
    CallKey,
    CallTries,
    Claim,
    ClaimRefusal,
    FailedCall,
    LatestCallsReport,
    Unclaimed,
)
from .ladder import LadderCounts


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
        truncated=whole(task, "truncated"),
        outputs=done,
        tried={_key(row): _tried(row) for row in failures if not row["final"]},
        resting={_key(row): whole(row, "rest_left") for row in failures if row["rest_left"]},
        held=tuple(_held(row) for row in failures if row["held"] is not None and _key(row) not in done),
        refused={_key(row): rows.call_failure(row) for row in given_up if row["gap_chars"] is None},
        announced=rows.keys(task, "in_flight"),
        doubted=rows.keys(task, "doubted"),
        deadline_left_ms=maybe_whole(task, "deadline_left"),
        claimed_ms=whole(task, "announced_at"),
        away_ms=maybe_whole(task, "away_ms"),
        away_waits=whole(task, "away_waits"),
        last_error=waiting_for.last_error(task),
        pace_ms=maybe_whole(task, "pace_ms"),
        told=told(task),
        characters=whole(source, "characters"),
        output_schema=maybe_text(source, "output_schema"),
        join_rules=structures.join_rules(source) or {},
        inherited=structures.inherited(source),
        rejections={_key(row): found for row in failures if (found := structures.rejection(row)) is not None},
        chunk_chars={_key(row): whole(row, "gap_chars") for row in failures if row["gap_chars"] is not None},
        gaps={_key(row): _gap(row) for row in given_up if row["gap_chars"] is not None},
        kind=rows.kind_of(task),
        left_out=_calls(row for row in covered if row["failed"]) - done,
        ladder=LadderCounts(whole(task, "reasks"), whole(task, "rejected"), whole(task, "repaired")),
    )


def _calls(covered: Iterable[Row]) -> frozenset[CallKey]:
    return frozenset(
        CallKey(whole(row, "level"), int(position)) for row in covered for position in text(row, "places").split(",")
    )


def told(row: Row) -> LatestCallsReport | None:
    """Read the latest calls with a model that isolates have written to the database."""
    found = maybe_text(row, "told")
    if found is None:
        return None
    failed_ms, calls = json.loads(found)
    return LatestCallsReport(tuple(LatestCall(chunk, at, bool(succeeded)) for chunk, at, succeeded in calls), failed_ms)


def _tried(row: Row) -> CallTries:
    return CallTries(whole(row, "attempts"), whole(row, "calls"), whole(row, "counted"))


def _held(row: Row) -> FailedCall:
    started, failed = whole_list(row, "held")
    return FailedCall(_key(row), _tried(row), False, rows.call_failure(row), None, (started, failed))


def _gap(row: Row) -> FailedCall:
    chars = maybe_whole(row, "gap_chars")
    return FailedCall(
        _key(row), _tried(row), True, rows.call_failure(row), rejection=structures.rejection(row), gap_chars=chars
    )


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
    """Read from the STANDING row the fence of an earlier instance of the asking host that holds the task.

    Returns None if no earlier instance of the host holds the task, or if the task rests now.
    """
    return maybe_whole(rows[0], "own_fence") if rows and (maybe_whole(rows[0], "rest_left") or 0) <= 0 else None
