"""A task, as the store reads it and as the API shows it. Times are milliseconds since the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from .codes import TaskCode
from .ids import TaskKey, split_task_key
from .states import Status


class Route(StrEnum):
    """Which host works, or last worked, on the task."""

    QUEUE = "queue"
    DURABLE_OBJECT = "durable-object"
    DIRECT = "direct"


class Reduce(StrEnum):
    """What becomes of the chunks' outputs."""

    CONCAT = "concat"
    MERGE = "merge"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """What a client asks for a task, besides its text and how that is cut.

    The request, the new task, a worker's claim and the task all hold it whole, and `store.options` writes and reads it.
    `model` None is the deployment's. `metadata` is shown as it was sent, and means nothing here. `deadline_ms` is the
    time from the submission, or from a retry, to the deadline, and `max_calls` the budget; None: no such term.
    `chunk_chars` is the most that a chunk holds; None where the deployment is to say it.
    `max_output_tokens` None is the deployment's, `temperature` None the provider's. `model_options` are further fields
    of what is sent to the provider. `response` is what the answers of `/v1` echo of the request; None for a task of the
    native API. `retention_ms` is how long the task is kept after its end, where that is shorter than the deployment's.
    """

    reduce: Reduce = Reduce.CONCAT
    model: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    deadline_ms: int | None = None
    max_calls: int | None = None
    chunk_chars: int | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    model_options: Mapping[str, object] = field(default_factory=dict)
    response: Mapping[str, object] | None = None
    retention_ms: int | None = None


CONCAT_SEPARATOR = "\n\n"
DEADLINE_EXCEEDED = TaskCode.DEADLINE_EXCEEDED
BUDGET_EXHAUSTED = TaskCode.BUDGET_EXHAUSTED
CONTENT_FILTER = "content_filter"
_CUT_OFF = frozenset({"length", CONTENT_FILTER})


def is_truncated(finish_reason: str | None) -> bool:
    """Whether an output that ended for this reason was cut off, by its length or by a filter."""
    return finish_reason in _CUT_OFF


def minimum_calls(chunks: int, reduce: Reduce) -> int:
    """Return the calls that so many chunks need: one each, and at least one more to merge several."""
    return chunks + (1 if reduce is Reduce.MERGE and chunks > 1 else 0)


def calls_left(total: int, completed: int, reduce: Reduce) -> int:
    """Return the calls that a task which has not ended well needs at the least: its other chunks, and a merge."""
    return minimum_calls(total, reduce) - completed


class Failure(NamedTuple):
    """Why a task or a chunk failed. `message` is written for the client and holds none of its text."""

    code: TaskCode
    message: str
    retryable: bool

    @classmethod
    def of(cls, code: str, message: str, retryable: bool) -> "Failure":
        """Make the failure of a call from its error. Raises ValueError for a code that no task may show."""
        return cls(TaskCode(code), message, retryable)


class LastError(NamedTuple):
    """The last call that failed, unless one has succeeded since: `calls` in a row did. A merge has no `chunk`.

    `since` is when the first of them started.
    """

    code: TaskCode
    message: str
    at: int
    chunk: int | None
    calls: int
    since: int


class Wait(NamedTuple):
    """Why nothing is being done for a task, and until when; None: nobody knows.

    `ahead` are the tenant's tasks that came before it and have not ended, where that is known.
    """

    reason: str
    until: int | None
    ahead: int | None = None


class Usage(NamedTuple):
    """The bill: `model_calls` counts every call sent, the `in_doubt` ones among them included."""

    model_calls: int
    minimum_calls: int
    in_doubt: int
    input_tokens: int
    output_tokens: int


class Source(NamedTuple):
    """What a task works on, but for the text itself: what is done with each chunk, and code points of both."""

    instructions: str
    overlap: int
    characters: int


class Mark(NamedTuple):
    """Which write of a task: the fence of its claim, and its step. A later write has a greater mark."""

    fence: int
    step: int


UNTOUCHED = Mark(0, 0)  # of a task that no worker has had


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task. `result` is a string or, for `reduce: none`, a list of strings; None until completed.

    `task_key` is its tenant and id. `truncated` counts outputs, those of merges too. `overdue`: its deadline has
    passed, and nobody has ended it yet. `late`: nobody works on it, and it is to be sent off again. `unanswered`: that
    was done before, and nobody came. `read_at` is when the database gave it. `source` is None in lists.
    `starts_by` is by when the calls that are out had to start, None if none is; `free_at` when somebody may take the
    task from the worker that has it. `pace_ms` is the time from one finished call to the next, None until it is known.
    `news_at` is when something last happened: a submission, a retry, a sending, an announcement, or the first of
    a row of failures. `filtered`: an output that makes the result was cut off by a content filter. `announced_at` is
    when calls were last announced. Calls are level and position: `calls_out` are announced and may be under way,
    `calls_in_doubt` lost their worker at the latest takeover, or with a lease now over. `mark` is of the last write.
    """

    task_key: TaskKey
    status: Status
    route: Route
    options: TaskOptions
    total: int
    completed: int
    failed: int
    truncated: int = 0
    usage: Usage
    attempts: int
    failure: Failure | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    expires_at: int | None
    deadline_at: int | None = None
    overdue: bool = False
    late: bool = False
    unanswered: bool = False
    waiting_for: Wait | None = None
    last_error: LastError | None = None
    starts_by: int | None = None
    free_at: int | None = None
    pace_ms: int | None = None
    news_at: int = 0
    read_at: int = 0
    result: str | tuple[str, ...] | None = None
    filtered: bool = False
    source: Source | None = None
    announced_at: int | None = None
    calls_out: tuple[tuple[int, int], ...] = ()
    calls_in_doubt: tuple[tuple[int, int], ...] = ()
    mark: Mark = UNTOUCHED

    @property
    def id(self) -> str:
        """What clients call it."""
        return split_task_key(self.task_key)[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkView:
    """A chunk that is finished: `completed` with its output, or `failed` with its failure.

    `finish_reason` is the provider's word for why the output ends; None: not known. `started_at` and `finished_at` are
    the start and the end of the call that gave the output, or of the group in which a lane made it; None: not kept.
    `first_started_at` is when the first of all its calls started; None: an earlier worker made that one. `lane` is the
    number of the lane that made the call; None: the task's own worker did.
    """

    index: int
    start: int
    end: int
    output: str | None
    attempts: int
    failure: Failure | None
    finish_reason: str | None = None
    started_at: int | None = None
    finished_at: int | None = None
    first_started_at: int | None = None
    lane: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """What `submit` writes. `cuts` are the chunks' end offsets, so that a later splitter changes nothing."""

    task_key: TaskKey
    route: Route
    text: str
    instructions: str
    cuts: tuple[int, ...]
    overlap: int
    merge_chars: int
    created_at: int
    options: TaskOptions

    @property
    def minimum_calls(self) -> int:
        """What the task needs when nothing fails, as far as it is known before it runs."""
        return minimum_calls(len(self.cuts), self.options.reduce)
