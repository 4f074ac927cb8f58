"""Makes records from rows of the database."""

import json
from collections.abc import Container, Sequence
from dataclasses import replace

from ...core.files import FileKey
from ...core.ids import TaskKey
from ...core.marks import Pulse
from ...core.states import Status
from ...core.task import (
    CONCAT_SEPARATOR,
    CONTENT_FILTER,
    Failure,
    FinishedChunk,
    Kind,
    Mark,
    Reduce,
    Route,
    Source,
    Task,
    TaskOptions,
    Usage,
)
from ...core.text.window import Window
from ..d1.columns import (
    maybe_json_object,
    maybe_number,
    maybe_text,
    maybe_whole,
    task_code,
    task_key,
    text,
    whole,
    whole_list,
)
from ..d1.database import Row
from . import options, segments, structures, waiting_for
from .chunk_index import ChunkIndex
from .claims import (
    CallKey,
    Output,
)
from .pages import NO_FILTER, ListFilter, Page
from .results import JoinerOf, result_of


def keys(row: Row, name: str) -> frozenset[CallKey]:
    """Read a column that contains calls, written as a JSON list of [level, idx]."""
    return frozenset(CallKey(*pair) for pair in json.loads(text(row, name)))


def outputs(level: int, found: Sequence[Row], wanted: Container[int] | None = None) -> list[Output]:
    """Read the outputs of one level from its segments, in order. If an output was stored twice, the first one counts.

    With `wanted`, only the outputs at the places in `wanted` are returned, even if the segments contain many more.
    """
    first: dict[CallKey, Output] = {}
    for row in sorted(found, key=lambda row: whole(row, "part")):
        for output in segments.unpack(level, text(row, "body")):
            if wanted is None or output.key.position in wanted:
                first.setdefault(output.key, output)
    return [first[key] for key in sorted(first)]


def sizes(found: Sequence[Row]) -> dict[int, int]:
    """Read the lengths of one level's outputs in code points, by position.

    If an output was stored twice, the length of the first one counts.
    """
    first: dict[int, int] = {}
    for row in sorted(found, key=lambda row: whole(row, "part")):
        places, lengths = (map(int, text(row, name).split(",")) for name in ("places", "sizes"))
        for place, length in zip(places, lengths, strict=True):
            first.setdefault(place, length)
    return first


def mark(row: Row) -> Mark:
    """Read the mark of the last write to a task from its row."""
    return Mark(whole(row, "fence"), whole(row, "step"))


def pulse(row: Row) -> Pulse:
    """Read from a task's row how far the task has progressed."""
    return Pulse(mark(row), Status(text(row, "status")), Route(text(row, "route")))


def window(row: Row, *, in_file: bool = False) -> Window:
    """Read a window of a task's text from a row of the expression in `sql.window`.

    The window has no chunk if the text is in a file (`in_file`).
    """
    if in_file:
        return Window(first=0, start=0, ends=(), overlap=whole(row, "overlap"), text="")
    return Window(
        first=whole(row, "first"),
        start=whole(row, "start"),
        ends=tuple(sorted(whole_list(row, "ends"))),
        overlap=whole(row, "overlap"),
        text=text(row, "text"),
    )


def kind_of(row: Row) -> Kind | None:
    """Read a task's kind. A kind that only newer code knows is shown as none, and the task is not claimed here."""
    found = maybe_text(row, "kind")
    return next((kind for kind in Kind if kind == found), None)


def call_failure(row: Row) -> Failure:
    """Read from a row of the database why a model call failed."""
    return Failure(task_code(row, "code"), text(row, "message"), bool(row["retryable"]))


def _failure(row: Row) -> Failure | None:
    if row["error_code"] is None:
        return None
    return Failure(task_code(row, "error_code"), text(row, "error_message"), bool(row["error_retryable"]))


async def whole_task(row: Row, result: Sequence[Row], source: Sequence[Row], joiner_of: JoinerOf | None) -> Task:
    """Build a task from a VIEW row, and from its RESULT and SOURCE rows."""
    described = _source(source[0]) if source else None
    asked, made = options.read(row), outputs(0, result)
    text, value = await _result(asked, whole(row, "total"), made, described, joiner_of)
    filtered = any(output.finish_reason == CONTENT_FILTER for output in made)
    return replace(task(row), result=text, value=value, filtered=filtered, source=described)


def task(row: Row) -> Task:
    """Build a task from a VIEW row, without its result and its source."""
    status, asked = Status(text(row, "status")), options.read(row)
    announced, doubted = keys(row, "in_flight"), keys(row, "doubted")
    in_flight, live, in_doubt = len(announced), bool(row["live"]), whole(row, "calls_in_doubt")
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
            # Announced calls are in doubt once their worker's lease is over, even before a takeover.
            in_doubt=in_doubt + (0 if live else in_flight),
            input_tokens=whole(row, "input_tokens"),
            output_tokens=whole(row, "output_tokens"),
            reasks=whole(row, "reasks"),
            rejected=whole(row, "rejected"),
            repaired=whole(row, "repaired"),
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
        first_line=maybe_text(row, "first_line"),
        announced_at=maybe_whole(row, "announced_at"),
        calls_out=tuple(sorted(announced if live else ())),
        calls_in_doubt=tuple(sorted(doubted if live else doubted | announced)),
        mark=mark(row),
        gaps=structures.gaps(row),
        coverage=maybe_number(row, "coverage"),
        retry_of=None if row["retry_of"] is None else task_key(row, "retry_of"),
        kind=kind_of(row),
        text_file=None if row["text_file"] is None else FileKey(text(row, "text_file")),
    )


async def _result(
    asked: TaskOptions, total: int, made: Sequence[Output], source: Source | None, joiner_of: JoinerOf | None
) -> tuple[str | tuple[str | None, ...] | None, object]:
    """Make a task's result from the outputs that were read, and the result's JSON value if the task has a schema."""
    if not made:
        return None, None
    if asked.structure is not None and source is not None:
        return await result_of(asked, total, made, source, joiner_of)
    texts = tuple(output.text for output in made)
    return texts if asked.reduce is Reduce.NONE else CONCAT_SEPARATOR.join(texts), None


def _source(row: Row) -> Source:
    return Source(
        text(row, "instructions"),
        whole(row, "overlap"),
        whole(row, "characters"),
        maybe_json_object(row, "output_schema"),
        structures.join_rules(row),
    )


def chunk_index(key: TaskKey, places: Row, found: Sequence[Row], failed: Sequence[Row]) -> ChunkIndex:
    """Read which chunks of a task are finished. `found` are the database rows that give the lengths of the outputs."""
    return ChunkIndex(
        task_key=key,
        cuts=whole_list(places, "cuts"),
        overlap=whole(places, "overlap"),
        sizes=sizes(found),
        failed={whole(row, "idx"): (whole(row, "calls"), call_failure(row)) for row in failed},
        answered=frozenset(whole(row, "idx") for row in failed if row["has_rung"]),
        gaps=frozenset(whole(row, "idx") for row in failed if row["gap"]),
    )


def chunk_views(
    index: ChunkIndex, done: Sequence[Output], places: range, answered: Sequence[Row]
) -> list[FinishedChunk]:
    """Build the finished chunks at the given places, in order, as the API shows them.

    `done` are the outputs of chunks that the index does not list as failed. `answered` are the database rows with the
    last rejected answers of failed chunks.
    """
    rejected = {whole(row, "idx"): found for row in answered if (found := structures.rejection(row)) is not None}
    views = [index.completed(output) for output in done]
    views += [index.failed_for_good(at, rejected.get(at)) for at in index.failed if at in places]
    return sorted(views, key=lambda item: item.index)


def page(found: Sequence[Row], only: ListFilter, most: int) -> Page:
    """Read a page of up to `most` tasks from the rows of LIST, or of LIST_FILTERED if the filter `only` is set."""
    tasks = [task(row) for row in found]
    if len(tasks) > most:
        return Page(tasks[:most], tasks[most - 1].task_key)
    if only == NO_FILTER or not found or not found[-1]["ends_walk"]:
        return Page(tasks, None)
    return Page([one for one in tasks if only.takes(one)], tasks[-1].task_key)
