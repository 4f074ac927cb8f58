"""From rows to records."""

import json
from collections.abc import Container, Sequence

from ...core.calls.latest_calls import LatestCall
from ...core.ids import TaskKey
from ...core.marks import Pulse
from ...core.states import Status
from ...core.task import (
    CONCAT_SEPARATOR,
    CONTENT_FILTER,
    Failure,
    FinishedChunk,
    Mark,
    Reduce,
    Route,
    Source,
    Task,
    Usage,
)
from ...core.text.window import Window
from ..d1.columns import maybe_text, maybe_whole, task_code, task_key, text, whole, whole_list
from ..d1.database import Row
from . import options, segments, waiting_for
from .chunk_index import ChunkIndex
from .claims import CallKey, CallTries, Claim, ClaimRefusal, FailedCall, LatestCallsReport, Output, Unclaimed
from .pages import NO_FILTER, ListFilter, Page


def keys(row: Row, name: str) -> frozenset[CallKey]:
    """Read a column that contains a JSON list of [level, idx]."""
    return frozenset(CallKey(*pair) for pair in json.loads(text(row, name)))


def _key(row: Row) -> CallKey:
    return CallKey(whole(row, "level"), whole(row, "idx"))


def outputs(level: int, found: Sequence[Row], wanted: Container[int] | None = None) -> list[Output]:
    """Read the outputs of one level from its segments, in order, each call's first one.

    With `wanted`, only outputs at these places are read. A segment may have many more: they are not kept.
    """
    first: dict[CallKey, Output] = {}
    for row in sorted(found, key=lambda row: whole(row, "part")):
        for output in segments.unpack(level, text(row, "body")):
            if wanted is None or output.key.position in wanted:
                first.setdefault(output.key, output)
    return [first[key] for key in sorted(first)]


def sizes(found: Sequence[Row]) -> dict[int, int]:
    """Read the sizes of one level's outputs in code points, by index, each call's first one."""
    first: dict[int, int] = {}
    for row in sorted(found, key=lambda row: whole(row, "part")):
        places, lengths = (map(int, text(row, name).split(",")) for name in ("places", "sizes"))
        for place, length in zip(places, lengths, strict=True):
            first.setdefault(place, length)
    return first


def mark(row: Row) -> Mark:
    """Read the task's last write."""
    return Mark(whole(row, "fence"), whole(row, "step"))


def pulse(row: Row) -> Pulse:
    """Read how far a task has progressed."""
    return Pulse(mark(row), Status(text(row, "status")), Route(text(row, "route")))


def window(row: Row) -> Window:
    """Read the window of a row that `sql.window` has made."""
    return Window(
        first=whole(row, "first"),
        start=whole(row, "start"),
        ends=tuple(sorted(whole_list(row, "ends"))),
        overlap=whole(row, "overlap"),
        text=text(row, "text"),
    )


def claim(key: TaskKey, holder: str, task: Row, source: Row, covered: Sequence[Row], failures: Sequence[Row]) -> Claim:
    """Build the claim from the rows of its transaction. `covered` are the rows of calls that have an output."""
    done = frozenset(
        CallKey(whole(row, "level"), position)
        for row in covered
        for position in range(whole(row, "first"), whole(row, "last") + 1)
    )
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
        window=window(source),
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
        refused={_key(row): _call_failure(row) for row in failures if row["final"] and _key(row) not in done},
        announced=keys(task, "in_flight"),
        doubted=keys(task, "doubted"),
        deadline_left_ms=maybe_whole(task, "deadline_left"),
        claimed_ms=whole(task, "announced_at"),
        away_ms=maybe_whole(task, "away_ms"),
        away_waits=whole(task, "away_waits"),
        last_error=waiting_for.last_error(task),
        pace_ms=maybe_whole(task, "pace_ms"),
        told=told(task),
    )


def told(row: Row) -> LatestCallsReport | None:
    """Read the latest calls that isolates have written."""
    found = maybe_text(row, "told")
    if found is None:
        return None
    failed_ms, calls = json.loads(found)
    return LatestCallsReport(tuple(LatestCall(chunk, at, bool(succeeded)) for chunk, at, succeeded in calls), failed_ms)


def _tried(row: Row) -> CallTries:
    return CallTries(whole(row, "attempts"), whole(row, "calls"), whole(row, "counted"))


def _held(row: Row) -> FailedCall:
    started, failed = whole_list(row, "held")
    return FailedCall(_key(row), _tried(row), False, _call_failure(row), None, (started, failed))


def unclaimed(rows: Sequence[Row]) -> Unclaimed:
    """Say from the STANDING row why the claim was not granted."""
    if not rows:
        return Unclaimed(ClaimRefusal.MISSING)
    status = Status(text(rows[0], "status"))
    if status.terminal:
        return Unclaimed(ClaimRefusal.TERMINAL)
    if rows[0]["overdue"]:
        return Unclaimed(ClaimRefusal.OVERDUE)
    if status is Status.PROCESSING:
        # The host itself would have taken over its own task, except during the rest.
        if predecessor(rows) is None and rows[0]["own_fence"] is not None:
            return Unclaimed(ClaimRefusal.EARLY, max(0, whole(rows[0], "rest_left")))
        return Unclaimed(ClaimRefusal.HELD, max(0, whole(rows[0], "lease_left"), whole(rows[0], "rest_left")))
    return Unclaimed(ClaimRefusal.EARLY, max(0, whole(rows[0], "wait_left")))


def predecessor(rows: Sequence[Row]) -> int | None:
    """Return from the STANDING row the fence of the asking host's own predecessor.

    Returns None if the host has no such predecessor, or if the task rests.
    """
    return maybe_whole(rows[0], "own_fence") if rows and (maybe_whole(rows[0], "rest_left") or 0) <= 0 else None


def _call_failure(row: Row) -> Failure:
    return Failure(task_code(row, "code"), text(row, "message"), bool(row["retryable"]))


def _failure(row: Row) -> Failure | None:
    if row["error_code"] is None:
        return None
    return Failure(task_code(row, "error_code"), text(row, "error_message"), bool(row["error_retryable"]))


def task(row: Row, result: Sequence[Row] = (), source: Sequence[Row] = ()) -> Task:
    """Build a task from a _VIEW row, and from its RESULT and SOURCE rows if they were read."""
    status = Status(text(row, "status"))
    asked = options.read(row)
    announced, doubted = keys(row, "in_flight"), keys(row, "doubted")
    in_flight, live = len(announced), bool(row["live"])
    in_doubt = whole(row, "calls_in_doubt")
    made = outputs(0, result)
    texts = tuple(output.text for output in made)
    return Task(
        task_key=task_key(row),
        status=status,
        route=Route(text(row, "route")),
        options=asked,
        total=whole(row, "total"),
        completed=whole(row, "completed"),
        failed=whole(row, "failed"),
        truncated=whole(row, "truncated"),
        usage=Usage(
            model_calls=whole(row, "calls_settled") + in_doubt + in_flight,
            minimum_calls=whole(row, "calls_minimum"),
            # Announced calls whose worker's lease is over are in doubt even before a takeover.
            in_doubt=in_doubt + (0 if live else in_flight),
            input_tokens=whole(row, "input_tokens"),
            output_tokens=whole(row, "output_tokens"),
        ),
        attempts=whole(row, "attempts"),
        failure=_failure(row),
        created_at=whole(row, "created_at"),
        started_at=maybe_whole(row, "started_at"),
        finished_at=maybe_whole(row, "finished_at"),
        expires_at=whole(row, "wake_at") if status.terminal else None,
        deadline_at=maybe_whole(row, "deadline_at"),
        overdue=bool(row["overdue"]),
        late=bool(row.get("late")),
        unanswered=bool(row.get("unanswered")),
        waiting_for=waiting_for.waiting_for(row, status),
        last_error=waiting_for.last_error(row),
        starts_by=whole(row, "announced_at") + whole(row, "start_ms") if in_flight else None,
        free_at=None if row["lease_until"] is None else max(whole(row, "lease_until"), whole(row, "rest_until")),
        pace_ms=maybe_whole(row, "pace_ms"),
        news_at=waiting_for.news_at(row),
        read_at=whole(row, "read_at"),
        result=None if not texts else texts if asked.reduce is Reduce.NONE else CONCAT_SEPARATOR.join(texts),
        filtered=any(output.finish_reason == CONTENT_FILTER for output in made),
        source=_source(source[0]) if source else None,
        first_line=maybe_text(row, "first_line"),
        announced_at=maybe_whole(row, "announced_at"),
        calls_out=tuple(sorted(announced if live else ())),
        calls_in_doubt=tuple(sorted(doubted if live else doubted | announced)),
        mark=mark(row),
    )


def _source(row: Row) -> Source:
    return Source(text(row, "instructions"), whole(row, "overlap"), whole(row, "characters"))


def chunk_index(key: TaskKey, places: Row, found: Sequence[Row], failed: Sequence[Row]) -> ChunkIndex:
    """Read which chunks are finished. `found` are rows of sizes."""
    return ChunkIndex(
        task_key=key,
        cuts=whole_list(places, "cuts"),
        overlap=whole(places, "overlap"),
        sizes=sizes(found),
        failed={whole(row, "idx"): (whole(row, "calls"), _call_failure(row)) for row in failed},
    )


def chunk_views(index: ChunkIndex, done: Sequence[Output], places: range) -> list[FinishedChunk]:
    """Build the finished chunks of these places, in order.

    `done` are outputs of chunks that did not fail in the index.
    """
    views = [index.completed(output) for output in done]
    views += [index.failed_for_good(at) for at in index.failed if at in places]
    return sorted(views, key=lambda item: item.index)


def page(found: Sequence[Row], only: ListFilter, most: int) -> Page:
    """Read a page of up to `most` tasks from the rows of LIST, or of LIST_FILTERED if there is a filter."""
    tasks = [task(row) for row in found]
    if len(tasks) > most:
        return Page(tasks[:most], tasks[most - 1].task_key)
    if only == NO_FILTER or not found or not found[-1]["ends_walk"]:
        return Page(tasks, None)
    return Page([one for one in tasks if only.takes(one)], tasks[-1].task_key)
