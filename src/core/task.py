"""A task, as the store reads it and as the API shows it. Times are milliseconds since the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from . import limits
from .codes import TaskCode
from .ids import TaskKey, split_task_key
from .states import Status
from .structure import Gap, Rejected, Structure


class Route(StrEnum):
    """The host that works, or last worked, on the task."""

    QUEUE = "queue"
    DURABLE_OBJECT = "durable-object"
    DIRECT = "direct"


class Reduce(StrEnum):
    """The way in which a task combines its chunks' outputs."""

    CONCAT = "concat"
    MERGE = "merge"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options that a client asks for a task. The text and the cuts of the task are kept elsewhere.

    The request, the new task, a worker's claim and the task all contain these options. `store.records.options` writes
    and reads them.
    """

    reduce: Reduce = Reduce.CONCAT  # How the outputs become the result.
    model: str | None = None  # The model; None: the deployment's.
    metadata: Mapping[str, object] = field(default_factory=dict)  # Metadata is shown as it was sent, and has no effect.
    deadline_ms: int | None = None  # The deadline, from the submission or a retry on; None: no deadline.
    max_calls: int | None = None  # The budget; None: no budget.
    chunk_chars: int | None = None  # The most characters that a chunk holds; None: not kept, or the deployment decides.
    max_output_tokens: int | None = None  # None: the deployment's value.
    temperature: float | None = None  # None: the provider's value.
    model_options: Mapping[str, object] = field(default_factory=dict)  # Further fields of the calls to the provider.
    # The fields that answers of `/v1` repeat from the request; None: a task of the native API.
    response: Mapping[str, object] | None = None
    retention_ms: int | None = None  # how long the task is kept after its end, if shorter than the deployment's
    structure: Structure | None = None  # how outputs are formed, and what a failed chunk does; None: a plain task


# The options that contain a client's text. A key without the scope `read` does not see them.
OPTION_TEXTS = frozenset({"metadata", "model_options"})
# The members of the metadata that name a task, the first one first.
NAME_MEMBERS = ("name", "title", "label")
CONCAT_SEPARATOR = "\n\n"
DEADLINE_EXCEEDED = TaskCode.DEADLINE_EXCEEDED
BUDGET_EXHAUSTED = TaskCode.BUDGET_EXHAUSTED
CONTENT_FILTER = "content_filter"
_CUT_OFF = frozenset({"length", CONTENT_FILTER})


def is_truncated(finish_reason: str | None) -> bool:
    """Whether an output with this finish reason was cut off, by its length or by a filter."""
    return finish_reason in _CUT_OFF


def minimum_calls(chunks: int, reduce: Reduce) -> int:
    """Return the calls that so many chunks need: one each, and at least one more to merge several."""
    return chunks + (1 if reduce is Reduce.MERGE and chunks > 1 else 0)


def calls_left(total: int, completed: int, reduce: Reduce) -> int:
    """Return the calls that an unfinished or failed task still needs at least: for its other chunks, and to merge."""
    return minimum_calls(total, reduce) - completed


class Failure(NamedTuple):
    """Why a task or a chunk failed. `message` is written for the client and contains none of its text."""

    code: TaskCode
    message: str
    retryable: bool

    @classmethod
    def of(cls, code: str, message: str, retryable: bool) -> "Failure":
        """Make the failure of a call from its error. Raises ValueError for a code that tasks do not have."""
        return cls(TaskCode(code), message, retryable)


class LastError(NamedTuple):
    """The latest failed call, unless a call has succeeded since.

    `calls` calls in a row have failed. `since` is when the first of these calls started. A call of a merge has no
    `chunk`.
    """

    code: TaskCode
    message: str
    at: int
    chunk: int | None
    calls: int
    since: int


class Wait(NamedTuple):
    """Why no work is done for a task, and until when. `until` None: unknown.

    `ahead` counts the tenant's unfinished tasks that came before this one, or is None.
    """

    reason: str
    until: int | None
    ahead: int | None = None


class Usage(NamedTuple):
    """The bill. `model_calls` counts every call that was sent, including those in doubt.

    `reasks` are calls that asked again for an output that did not fit its schema. `rejected` are answers without a
    usable output, and `repaired` outputs that were repaired.
    """

    model_calls: int
    minimum_calls: int
    in_doubt: int
    input_tokens: int
    output_tokens: int
    reasks: int = 0
    rejected: int = 0
    repaired: int = 0


class Source(NamedTuple):
    """A task's input, described without its text: the instructions for each chunk, and lengths in code points.

    `output_schema` is the schema of its outputs as the client wrote it. `join_rules` say how `concat` joins fields.
    """

    instructions: str
    overlap: int
    characters: int
    output_schema: Mapping[str, object] | None = None
    join_rules: Mapping[str, str] | None = None


class Mark(NamedTuple):
    """Identifies a write of a task: the fence of its claim, and its step. A later write has a greater mark."""

    fence: int
    step: int


UNTOUCHED = Mark(0, 0)  # the mark of a task that no worker has had


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task.

    A field that names calls has the level and the position of each.
    """

    task_key: TaskKey  # tenant and id
    status: Status
    route: Route
    options: TaskOptions
    total: int
    completed: int
    failed: int  # The number of failed chunks.
    truncated: int = 0  # The number of outputs that were cut off, including those of merges.
    usage: Usage
    attempts: int
    failure: Failure | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    expires_at: int | None
    deadline_at: int | None = None  # None: no deadline.
    overdue: bool = False  # True if the task's deadline has passed, but no sweep has ended the task yet.
    late: bool = False  # True if the task has no worker and must be dispatched again.
    unanswered: bool = False  # True if the task was dispatched again in vain.
    waiting_for: Wait | None = None
    last_error: LastError | None = None
    starts_by: int | None = None  # The time by which the calls in flight had to start; None: no call is in flight.
    free_at: int | None = None  # The time when another worker may take the task over.
    pace_ms: int | None = None  # The time from one finished call to the next; None until known.
    news_at: int = 0  # The time of the last submission, retry, dispatch, announcement, or first failure of a row.
    read_at: int = 0  # The time when the database answered.
    # A list for `reduce: none`, with None in the place of a gap; None until completed. With `concat` and a schema it is
    # the joined value as compact JSON.
    result: str | tuple[str | None, ...] | None = None
    value: object = None  # The value that the result stands for, if the task has a schema.
    filtered: bool = False  # True if a content filter cut off an output that makes the result.
    source: Source | None = None  # None in lists.
    first_line: str | None = None  # The first line of the text, while the text is kept.
    announced_at: int | None = None  # The time when calls were last announced.
    calls_out: tuple[tuple[int, int], ...] = ()  # Calls that are announced, and perhaps in flight.
    # The calls that lost their worker at the latest takeover, or whose lease is over.
    calls_in_doubt: tuple[tuple[int, int], ...] = ()
    mark: Mark = UNTOUCHED  # the mark of the task's last write
    gaps: tuple[Gap, ...] = ()  # chunks without which the task goes on, or has completed; not read in lists
    coverage: float | None = None  # the share of the characters that gaps leave; None: there is no gap
    retry_of: TaskKey | None = None  # the task whose gaps this task makes

    @property
    def id(self) -> str:
        """The task's id for clients."""
        return split_task_key(self.task_key)[1]

    @property
    def name(self) -> str | None:
        """The first of its names that is not blank, in one line."""
        return next((line for name in self.names if (line := " ".join(name.split()))), None)

    @property
    def names(self) -> list[str]:
        """The texts that name it, each on its own: those of the metadata, then the first line of its text."""
        found = [*(self.options.metadata.get(member) for member in NAME_MEMBERS), self.first_line]
        return [name for name in found if isinstance(name, str)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedChunk:
    """A finished chunk: `completed` with its output, or `failed` with its failure.

    A field is None if it is unknown or not kept, unless a comment says otherwise.
    """

    index: int
    start: int
    end: int
    output: str | None
    attempts: int
    failure: Failure | None
    finish_reason: str | None = None  # The provider's reason for the end of the output.
    started_at: int | None = None  # The start of the call that gave the output, or of its group in a lane.
    finished_at: int | None = None  # The end of that call, or of its group in a lane.
    first_started_at: int | None = None  # The start of the first call for the output; None: an earlier worker made it.
    lane: int | None = None  # The number of the lane that made the call; None: the task's own worker did.
    rejected: Rejected | None = None  # The last answer of a failed chunk that did not fit its schema.
    is_gap: bool = False  # True if the task goes on, or has completed, without this failed chunk.


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task as `submit` writes it. `cuts` are the chunks' end offsets, so that a later splitter changes nothing."""

    task_key: TaskKey
    route: Route
    text: str
    instructions: str
    cuts: tuple[int, ...]
    overlap: int
    merge_chars: int
    created_at: int
    options: TaskOptions
    output_schema: str | None = None  # JSON; None: outputs are plain texts
    join_rules: Mapping[str, str] = field(default_factory=dict)

    @property
    def first_line(self) -> str | None:
        """The beginning of the first line of the text that is not blank. None: the text does not begin with one."""
        line = self.text[: limits.FIRST_LINE_WITHIN_CHARS].strip().partition("\n")[0]
        return " ".join(line.split())[: limits.FIRST_LINE_CHARS_MOST] or None

    @property
    def minimum_calls(self) -> int:
        """The number of calls that the task needs without failures, as far as known before it runs."""
        return minimum_calls(len(self.cuts), self.options.reduce)
