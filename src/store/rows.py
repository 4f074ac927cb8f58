"""From rows to records."""

import json
from collections.abc import Sequence

from ..core import limits
from ..core.ids import TaskKey
from ..core.states import Status
from ..core.task import CONCAT_SEPARATOR, ChunkView, Failure, Reduce, Route, Task, Usage
from . import options
from .claims import CallKey, Claim, Standing, Tried, Unclaimed
from .columns import maybe_text, maybe_whole, task_key, text, whole, whole_list
from .database import Row
from .pages import Page


def keys(row: Row, name: str) -> frozenset[CallKey]:
    """Read a column that holds a JSON list of [level, idx]."""
    return frozenset(CallKey(*pair) for pair in json.loads(text(row, name)))


def _key(row: Row) -> CallKey:
    return CallKey(whole(row, "level"), whole(row, "idx"))


def claim(key: TaskKey, task: Row, source: Row, outputs: Sequence[Row], failures: Sequence[Row]) -> Claim:
    """Build the claim from what its transaction returned."""
    done = frozenset(_key(row) for row in outputs)
    return Claim(
        task_key=key,
        fence=whole(task, "fence"),
        step=whole(task, "step"),
        attempts=whole(task, "attempts"),
        stalls=whole(task, "stalls"),
        rate_waits=whole(task, "rate_waits"),
        options=options.read(task),
        text=text(source, "input"),
        instructions=text(source, "instructions"),
        cuts=whole_list(source, "cuts"),
        overlap=whole(source, "overlap"),
        merge_chars=whole(task, "merge_chars"),
        calls_settled=whole(task, "calls_settled"),
        calls_in_doubt=whole(task, "calls_in_doubt"),
        input_tokens=whole(task, "input_tokens"),
        output_tokens=whole(task, "output_tokens"),
        outputs=done,
        tried={_key(row): Tried(whole(row, "attempts"), whole(row, "calls")) for row in failures if not row["final"]},
        refused={_key(row): _call_failure(row) for row in failures if row["final"] and _key(row) not in done},
        announced=keys(task, "in_flight"),
        doubted=keys(task, "doubted"),
        deadline_left_ms=maybe_whole(task, "deadline_left"),
    )


def unclaimed(rows: Sequence[Row]) -> Unclaimed:
    """Say from the STANDING row why there is no claim."""
    if not rows:
        return Unclaimed(Standing.MISSING)
    status = Status(text(rows[0], "status"))
    if status.terminal:
        return Unclaimed(Standing.TERMINAL)
    if rows[0]["overdue"]:
        return Unclaimed(Standing.OVERDUE)
    if status is Status.PROCESSING:
        return Unclaimed(Standing.HELD, max(0, whole(rows[0], "lease_left")))
    return Unclaimed(Standing.EARLY, max(0, whole(rows[0], "wait_left")))


def _call_failure(row: Row) -> Failure:
    return Failure(text(row, "code"), text(row, "message"), bool(row["retryable"]))


def _failure(row: Row) -> Failure | None:
    code = maybe_text(row, "error_code")
    if code is None:
        return None
    return Failure(code, text(row, "error_message"), bool(row["error_retryable"]))


def task(row: Row, result: Sequence[Row] = ()) -> Task:
    """Build a task from a _VIEW row and, for a completed one, its RESULT rows."""
    status = Status(text(row, "status"))
    asked = options.read(row)
    in_flight = whole(row, "calls_in_flight")
    in_doubt = whole(row, "calls_in_doubt")
    outputs = tuple(text(item, "output") for item in result)
    return Task(
        task_key=task_key(row),
        status=status,
        route=Route(text(row, "route")),
        options=asked,
        total=whole(row, "total"),
        completed=whole(row, "completed"),
        failed=whole(row, "failed"),
        usage=Usage(
            model_calls=whole(row, "calls_settled") + in_doubt + in_flight,
            minimum_calls=whole(row, "calls_minimum"),
            # Calls announced by a worker whose lease is over are in doubt before anyone takes over.
            in_doubt=in_doubt + (0 if row["live"] else in_flight),
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
        result=None if not outputs else outputs if asked.reduce is Reduce.NONE else CONCAT_SEPARATOR.join(outputs),
    )


def chunk_views(places: Row, done: Sequence[Row], failed: Sequence[Row]) -> list[ChunkView]:
    """Build the finished chunks, in order."""
    cuts, overlap = whole_list(places, "cuts"), whole(places, "overlap")

    def view(row: Row, output: str | None, calls: int, failure: Failure | None) -> ChunkView:
        index = whole(row, "idx")
        start = max(0, cuts[index - 1] - overlap) if index else 0
        return ChunkView(index=index, start=start, end=cuts[index], output=output, attempts=calls, failure=failure)

    views = [view(row, text(row, "output"), whole(row, "attempts"), None) for row in done]
    views += [view(row, None, whole(row, "calls"), _call_failure(row)) for row in failed]
    return sorted(views, key=lambda item: item.index)


def page(found: Sequence[Row], status: Status | None, most: int) -> Page:
    """Read a page of up to `most` tasks from the rows of LIST, or of LIST_STATUS if it is of one status."""
    tasks = [task(row) for row in found]
    if len(tasks) > most:
        return Page(tasks[:most], tasks[most - 1].task_key)
    if status is None or not found or whole(found[-1], "place") < limits.LIST_WALK_MOST:
        return Page(tasks, None)
    return Page([one for one in tasks if one.status is status], tasks[-1].task_key)
