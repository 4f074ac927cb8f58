"""Makes records from rows of the database: tasks, pages of lists, indexes of chunks, results.

A reader reads the outputs of finished chunks page by page, with an index of them. The result of a structured task is
made from outputs that are added one after the other, and that memory holds only once, as text.
"""

import json
import string
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

from ..calls.clock import LongWork
from ..domain import limits
from ..domain.errors import NotJoinable
from ..domain.ids import FileKey, TaskKey, first_id, task_key_of
from ..domain.marks import Pulse
from ..domain.structure import Quote, Rejection, Structure
from ..domain.task import (
    CONCAT_SEPARATOR,
    CONTENT_FILTER,
    Failure,
    FinishedChunk,
    Kind,
    LastError,
    Mark,
    Reduce,
    Route,
    Source,
    Status,
    Task,
    TaskOptions,
    Usage,
    Wait,
)
from ..text.chunks import Window
from . import options, segments
from .claims import CallKey, Output
from .d1 import (
    Row,
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


class ChunkIndex(NamedTuple):
    """A task's finished chunks: in `sizes` with the lengths of their outputs, or in `failed` with calls and failure.

    Lengths are code points. `cuts` and `overlap` say where the chunks are in the task's input.
    """

    task_key: TaskKey
    cuts: tuple[int, ...]
    overlap: int
    sizes: Mapping[int, int]
    failed: Mapping[int, tuple[int, Failure]]
    answered: frozenset[int] = frozenset()  # The failed chunks whose last answer was rejected, and is kept.
    gaps: frozenset[int] = frozenset()  # The failed chunks without which the task continues or has completed.
    page_chars: int | None = None  # None for ANSWER_CHARS_AT_ONCE

    def pages(self, first: int = 0, most: int = limits.CHUNKS_MOST) -> Iterator[range]:
        """Yield the finished chunks from `first` on as ranges of indices, each small enough to be read at once.

        A range has up to `most` finished chunks with at most `page_chars` characters of output and of rejected answers
        together, or one chunk of any size.
        """
        most_chars = min(self.page_chars or limits.ANSWER_CHARS_AT_ONCE, limits.ANSWER_CHARS_AT_ONCE)
        page: list[int] = []
        chars = 0
        for index in sorted(index for index in {*self.sizes, *self.failed} if index >= first):
            size = self.sizes.get(index, limits.REJECTED_CHARS_MOST if index in self.answered else 0)
            if page and (len(page) == most or chars + size > most_chars):
                yield range(page[0], page[-1] + 1)
                page, chars = [], 0
            page.append(index)
            chars += size
        if page:
            yield range(page[0], page[-1] + 1)

    def completed(self, output: Output) -> FinishedChunk:
        """Return the finished chunk that has the given output, as the API shows it."""
        index = output.key.position
        start, end = self._span(index)
        return FinishedChunk(
            index=index,
            start=start,
            end=end,
            output=output.text,
            attempts=output.calls,
            failure=None,
            finish_reason=output.finish_reason,
            started_at=output.started_ms,
            finished_at=output.ended_ms,
            first_started_at=output.started_ms if output.calls == 1 else output.first_ms,
            lane=output.lane,
            quotes=output.quotes,
            cached=output.cached,
        )

    def failed_for_good(self, index: int, rejected: Rejection | None = None) -> FinishedChunk:
        """Return a chunk that has failed for good, as the API shows it, with its last rejected answer."""
        start, end = self._span(index)
        calls, failure = self.failed[index]
        return FinishedChunk(
            index=index,
            start=start,
            end=end,
            output=None,
            attempts=calls,
            failure=failure,
            rejected=rejected,
            is_gap=index in self.gaps,
        )

    def _span(self, index: int) -> tuple[int, int]:
        if not self.cuts:
            return 0, 0
        return max(0, self.cuts[index - 1] - self.overlap) if index else 0, self.cuts[index]


_BEHIND_ALL = "~"  # A text that sorts after every task id.


class Span(NamedTuple):
    """A range of one tenant's task keys: from `first` on, and up to but not including `behind`."""

    first: str
    behind: str


class ListFilter(NamedTuple):
    """Says which tasks of a span a list shows: the tasks that have the given value in each field that is set.

    None allows any value. The SQL statement LIST_FILTERED has a condition for each field of the filter. `text` must
    occur in a name of the task, or the task's id must begin with `text`; `text` contains no capital A to Z.
    `default_model` is the model that counts for a task that names no model.
    """

    status: Status | None = None
    route: Route | None = None
    error_code: str | None = None
    model: str | None = None
    text: str | None = None
    default_model: str | None = None
    extras: str | None = None  # a JSON object with the texts of extra fields

    def takes(self, task: Task) -> bool:
        """Whether a list with the filter shows the task."""
        return (
            self.status in {None, task.status}
            and self.route in {None, task.route}
            and self.error_code in {None, task.failure.code if task.failure else ""}
            and self.model in {None, task.options.model or self.default_model}
            and (self.text is None or task.id.startswith(self.text) or any(self.text in folded(n) for n in task.names))
            and json.loads(self.extras or "{}").items() <= task.options.extras.items()
        )


NO_FILTER: Final = ListFilter()
_FOLDED: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def folded(text: str) -> str:
    """Write A to Z in lower case, and leave all other characters, as SQLite's `lower` does."""
    return text.translate(_FOLDED)


class Page(NamedTuple):
    """A page of a list of tasks, newest first.

    The next page begins after the task key `last`; None means that there is no next page. A page with a filter may
    contain fewer tasks than requested, or none, and still have a next page.
    """

    tasks: Sequence[Task]
    last: TaskKey | None


class Counts(NamedTuple):
    """Of the newest `among` tasks of a span, how many have each status."""

    of: Mapping[Status, int]
    among: int
    all: bool  # Whether the span has no other tasks than these.


def span(tenant: str, *, before_id: str | None, from_ms: int | None, until_ms: int | None, prefix: str = "") -> Span:
    """Make the span of a tenant's tasks created at or after `from_ms`, before `until_ms`, and before task `before_id`.

    A bound that is None does not limit the span. All task ids in the span begin with `prefix`.
    """
    bounds = [prefix + _BEHIND_ALL]
    bounds += [before_id] if before_id else []
    bounds += [first_id(until_ms)] if until_ms is not None else []
    first = "" if from_ms is None else first_id(from_ms)
    return Span(task_key_of(tenant, max(first, prefix)), task_key_of(tenant, min(bounds)))


type Texts = str | tuple[str | None, ...]


class Unheld(Protocol):
    """An array of a joined value that is not held: the outputs are read anew whenever it is written."""

    def piece(self, number: int, output: dict[str, object]) -> bytes:
        """Write the array's items from the output with this number, without brackets; b"" if there are none."""
        ...


class OutputJoiner(Protocol):
    """Joins the outputs of one task with a schema, which are added in order, into one value."""

    def let_go(self, parts: int) -> int:
        """Hold no arrays, because the outputs can be read again. Return how often the outputs are to be added."""
        ...

    def again(self) -> None:
        """Begin anew with the first output."""
        ...

    def adding(self, value: dict[str, object]) -> Iterator[int]:
        """Add an output, in portions. Yields after each portion how much it has done, in characters."""
        ...

    def placed(self, number: int, quotes: Sequence[Quote]) -> Iterator[Quote]:
        """Yield those quotes of an output that the joined value has, with their pointers there."""
        ...

    def written(self) -> Sequence[bytes | Unheld]:
        """Write the joined value as compact JSON, in pieces of UTF-8. Raises NotJoinable if a sum is no double."""
        ...

    def held(self) -> Sequence[bytes]:
        """Write the joined value, whose arrays are held. Raises NotJoinable if a sum is no double."""
        ...


type JoinerOf = Callable[[Source], OutputJoiner]  # Makes a joiner by the schema and the rules of a task.


async def add(joiner: OutputJoiner, output: str, work: LongWork) -> None:
    """Add an output to a joined value, in portions."""
    for chars in joiner.adding(json.loads(output)):
        await work.did(chars)
    await work.did(len(output))


class TaskResult(NamedTuple):
    """A task's result as a text and as a JSON value, and the quotes in the value."""

    text: Texts | None = None
    value: object = None
    quotes: tuple[Quote, ...] = ()


def listed(place: int, quotes: Iterable[Quote]) -> Iterator[Quote]:
    """Yield quotes of a chunk's output with their pointers in the list of all outputs."""
    return (quote._replace(pointer=f"/{place}{quote.pointer}") for quote in quotes)


async def result_of(
    options: TaskOptions, total: int, outputs: Sequence[Output], source: Source | None, joiner_of: JoinerOf | None
) -> TaskResult:
    """Make a task's result from outputs that were all read at once.

    With `reduce: none` the result is a list, with None in the place of a gap. With `concat` and a schema the result is
    the joined value as compact JSON. There is no value without a schema. The text and the value are both None if a sum
    in the result exceeds the largest double, or if there are too many quotes to show them at once.
    """
    has_schema = (options.structure or Structure()).has_schema
    if sum(len(output.quotes) for output in outputs) > limits.QUOTES_AT_ONCE:
        return TaskResult()
    if options.reduce is Reduce.NONE:
        texts: list[str | None] = [None] * total
        for output in outputs:
            texts[output.key.position] = output.text
        values = [None if text is None else json.loads(text) for text in texts] if has_schema else None
        quotes = [listed(output.key.position, output.quotes) for output in outputs]
        return TaskResult(tuple(texts), values, tuple(chain.from_iterable(quotes)))
    if options.reduce is Reduce.CONCAT and has_schema:
        return await _joined(outputs, source, joiner_of)
    text = CONCAT_SEPARATOR.join(output.text for output in outputs)
    return TaskResult(text, json.loads(text), outputs[0].quotes) if has_schema else TaskResult(text)


async def _joined(outputs: Sequence[Output], source: Source | None, joiner_of: JoinerOf | None) -> TaskResult:
    assert source is not None, "a task with outputs and without a row of its text"
    assert joiner_of is not None, "a task with a schema in a deployment without structured tasks"
    joiner, work = joiner_of(source), LongWork()
    for output in outputs:
        await add(joiner, output.text, work)
    try:
        text = b"".join(joiner.held()).decode()
    except NotJoinable:
        return TaskResult()
    quotes = list[Quote]()
    for number, output in enumerate(outputs):
        quotes += joiner.placed(number, output.quotes)
        await work.did(limits.QUOTE_CHARS * len(output.quotes))
    return TaskResult(text, json.loads(text), tuple(quotes))


# After a rollback, an error that newer code stored may have more fields than the class LastError.
_KNOWN = frozenset(LastError._fields)


def last_error(row: Row) -> LastError | None:
    """Read a task's latest failed model call from its row; None if a call has succeeded since."""
    found = maybe_text(row, "last_error")
    if found is None:
        return None
    return LastError(**{name: value for name, value in json.loads(found).items() if name in _KNOWN})


def news_at(row: Row) -> int:
    """Return when something last happened to a task, or the start of the first call in the present row of failures."""
    error = last_error(row)
    if error is not None:
        return error.since
    return max(whole(row, "created_at"), maybe_whole(row, "announced_at") or 0, maybe_whole(row, "sent_at") or 0)


def waiting_for(row: Row, status: Status) -> Wait | None:
    """Find out what a task waits for; if its worker has died, for the end of the worker's lease.

    Returns None if the task has calls in flight, if its worker is about to make some, or if the task has ended.
    """
    now = whole(row, "read_at")
    if status is Status.PENDING:
        not_before = whole(row, "not_before")
        if not_before > now:
            return Wait(_reason(row), not_before)
        return Wait("queued", None, maybe_whole(row, "ahead") if "ahead" in row else None)
    return _held(row, now) if status is Status.PROCESSING else None


def _held(row: Row, now: int) -> Wait | None:
    """Find out what a task waits for, if it has a worker or its worker died."""
    lease_until = maybe_whole(row, "lease_until") or 0
    free_at = max(lease_until, whole(row, "rest_until"))
    if lease_until <= now:
        return Wait("lease", free_at if free_at > now else None)
    if whole(row, "calls_in_flight"):
        return None
    until = maybe_whole(row, "wait_until")
    if until is not None and until > now:
        return Wait(_reason(row), until)
    # A live worker renews its lease before half of it has passed. If more than half of the lease has passed, the worker
    # has not renewed it and so seems dead. In the first half of its lease, a worker without calls may wait for its turn
    # to probe a model that is away.
    if now - whole(row, "announced_at") > lease_until - now:
        return Wait("lease", free_at)
    return Wait("model_away", None) if maybe_text(row, "wait_reason") == "model_away" else None


def _reason(row: Row) -> str:
    """Return the reason for a task's wait: the reason that its worker wrote, or why its worker released it or died."""
    if (maybe_whole(row, "starts_at") or 0) > whole(row, "read_at"):
        return "scheduled"
    waits_for = maybe_text(row, "waits_for")  # A run that looks whether a cap has become free is idle too.
    if waits_for is None and whole(row, "idle_runs"):
        return "database"
    return waits_for or maybe_text(row, "wait_reason") or ("lease" if whole(row, "stalls") else "backoff")


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
    """Read the lengths of one level's outputs in code points, by position. Of one stored twice, the first counts."""
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
    """Read a window of a task's text. It has no chunk if the text is in a file (`in_file`)."""
    overlap, lead = whole(row, "overlap"), whole(row, "lead")
    if in_file:
        return Window(first=0, start=0, ends=(), overlap=overlap, text="", lead=lead)
    ends = tuple(sorted(whole_list(row, "ends")))
    return Window(whole(row, "first"), whole(row, "start"), ends, overlap, text(row, "text"), lead)


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
    asked, described = options.read(row), _source(source[0]) if source else None
    text, value, quotes = TaskResult()
    if made := outputs(0, result):
        text, value, quotes = await result_of(asked, whole(row, "total"), made, described, joiner_of)
    filtered = any(output.finish_reason == CONTENT_FILTER for output in made)
    return _task(row, asked, result=text, value=value, quotes=quotes, filtered=filtered, source=described)


def task(row: Row) -> Task:
    """Build a task from a VIEW row, without its result and its source."""
    return _task(row, options.read(row))


def _task(row: Row, asked: TaskOptions, **of_other_rows: Any) -> Task:
    status = Status(text(row, "status"))
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
            quotes_not_found=whole(row, "quotes_not_found"),
            cached_tokens=whole(row, "cached_tokens"),
            cost=maybe_whole(row, "cost"),
            cost_in_doubt=whole(row, "cost_in_doubt") + (0 if live else whole(row, "cost_out")),
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
        waiting_for=waiting_for(row, status),
        last_error=last_error(row),
        starts_by=whole(row, "announced_at") + whole(row, "start_ms") if in_flight else None,
        free_at=None if row["lease_until"] is None else max(whole(row, "lease_until"), whole(row, "rest_until")),
        pace_ms=maybe_whole(row, "pace_ms"),
        news_at=news_at(row),
        read_at=whole(row, "read_at"),
        first_line=maybe_text(row, "first_line"),
        announced_at=maybe_whole(row, "announced_at"),
        calls_out=tuple(sorted(announced if live else ())),
        calls_in_doubt=tuple(sorted(doubted if live else doubted | announced)),
        mark=mark(row),
        gaps=options.gaps(row),
        coverage=maybe_number(row, "coverage"),
        retry_of=None if row["retry_of"] is None else task_key(row, "retry_of"),
        kind=kind_of(row),
        text_file=None if row["text_file"] is None else FileKey(text(row, "text_file")),
        **of_other_rows,
    )


def _source(row: Row) -> Source:
    schema, rules = maybe_json_object(row, "output_schema"), options.join_rules(row)
    return Source(text(row, "instructions"), whole(row, "overlap"), whole(row, "characters"), schema, rules)


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
    rejected = {whole(row, "idx"): found for row in answered if (found := options.rejection(row)) is not None}
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
