"""A task: its data, as the store reads it and as the API shows it, and the table of its transitions.

Times are milliseconds since the epoch. Tests compare the SQL, the schema and the drawing in
`docs/design/state-machine.md` with the table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from . import limits
from .codes import TaskCode
from .ids import FileKey, TaskKey, split_task_key
from .structure import Gap, LongText, Quote, Rejection, Structure


class Status(StrEnum):
    """The state of a task."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether a task with this status has ended: the status no longer changes, unless a client asks for a retry."""
        return self in TERMINAL


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})


class Transition(NamedTuple):
    """A change of status: from which `sources`, and `why`, what causes it."""

    name: str
    sources: tuple[Status, ...]
    target: Status
    why: str


_TABLE = (
    Transition("claim", (Status.PENDING,), Status.PROCESSING, "a worker takes the task; the fence rises"),
    Transition("take_over", (Status.PROCESSING,), Status.PROCESSING, "the lease ran out; the fence rises"),
    Transition("progress", (Status.PROCESSING,), Status.PROCESSING, "outputs and intents are recorded"),
    Transition("release", (Status.PROCESSING,), Status.PENDING, "the worker stops early and gives the task back"),
    Transition("resume", (Status.PENDING, Status.PROCESSING), Status.PENDING, "an operator ended a wait for the model"),
    Transition("finish", (Status.PROCESSING,), Status.COMPLETED, "the last output is recorded"),
    Transition("fail", (Status.PROCESSING,), Status.FAILED, "a chunk failed for good"),
    Transition("dead_letter", (Status.PENDING, Status.PROCESSING), Status.FAILED, "deliveries are used up"),
    Transition("expire", (Status.PENDING, Status.PROCESSING), Status.FAILED, "its deadline passed"),
    Transition("give_up", (Status.PROCESSING,), Status.FAILED, "workers died on it again and again"),
    Transition("cancel", (Status.PENDING, Status.PROCESSING), Status.CANCELLED, "the client asked for it"),
    Transition("retry", (Status.FAILED, Status.CANCELLED), Status.PENDING, "the client asked for it"),
)

TRANSITIONS = {transition.name: transition for transition in _TABLE}


class Route(StrEnum):
    """A task's route: which kind of host works on the task, or worked on it last."""

    QUEUE = "queue"
    DURABLE_OBJECT = "durable-object"
    DIRECT = "direct"


class Kind(StrEnum):
    """What the chunks of a task are if they are not parts of the task's text: lines of a file, or parts of a file."""

    BATCH = "batch"
    FILE = "file"


class Reduce(StrEnum):
    """The way in which a task combines its chunks' outputs."""

    CONCAT = "concat"
    MERGE = "merge"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of a task that a client chooses. `store.options` writes and reads their columns of `tasks`."""

    reduce: Reduce = Reduce.CONCAT  # How the chunks' outputs become the task's result.
    model: str | None = None  # The model to call; None for the deployment's default model.
    metadata: Mapping[str, object] = field(default_factory=dict)  # The client's, shown as sent, without effect.
    deadline_ms: int | None = None  # The ms from the submission or a retry to the deadline; None without a deadline.
    max_calls: int | None = None  # The most model calls that the task may make; None for any number.
    max_cost: int | None = None  # The most that the calls may cost, in billionths of a dollar; None for any amount.
    chunk_chars: int | None = None  # The most of a chunk; None if unknown or if the deployment's value applies.
    max_output_tokens: int | None = None  # None if the deployment's value applies.
    temperature: float | None = None  # None if the provider's own default applies.
    model_options: Mapping[str, object] = field(default_factory=dict)  # Further fields of each call.
    response: Mapping[str, object] | None = None  # What answers of `/v1` repeat; None for the native API.
    starts_at: int | None = None  # When the first call may start; None if it may at once.
    retention_ms: int | None = None  # How long the task is kept after its end, if shorter than RETENTION_DAYS.
    structure: Structure | None = None  # The output schema's options, and whether chunks may leave gaps.
    # Texts that features let a client give a task (`extra_names`). They have no effect.
    extras: Mapping[str, str] = field(default_factory=dict)
    long_text: LongText | None = None

    @property
    def names(self) -> list[str]:
        """The texts in the metadata that may name the task, blank ones too."""
        found = (self.metadata.get(member) for member in NAME_MEMBERS)
        return [name for name in found if isinstance(name, str)]

    @property
    def first_line_names(self) -> bool:
        """Whether the first line of the text names the task, and may do so after the text is erased."""
        is_stored = self.response is None or self.response.get("store") is not False
        return is_stored and not any(name.strip() for name in self.names)


# The options of a task that contain a client's text, which an API key without the scope `read` does not see.
OPTION_TEXTS = frozenset({"metadata", "model_options", "extras"})
# The members of a task's metadata that may name the task; an earlier one is preferred.
NAME_MEMBERS = ("name", "title", "label")
CONCAT_SEPARATOR = "\n\n"
DEADLINE_EXCEEDED = TaskCode.DEADLINE_EXCEEDED
BUDGET_EXHAUSTED = TaskCode.BUDGET_EXHAUSTED
COST_EXHAUSTED = TaskCode.COST_EXHAUSTED
CONTENT_FILTER = "content_filter"
_CUT_OFF = frozenset({"length", CONTENT_FILTER})
# Words of several servers for the finish reason of an output that reached its limit of tokens.
LENGTH_REASONS = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})


def is_truncated(finish_reason: str | None) -> bool:
    """Whether an output with this finish reason was cut off because of its length or by a content filter."""
    return finish_reason in _CUT_OFF


def minimum_calls(chunks: int, reduce: Reduce) -> int:
    """Return the least number of model calls for `chunks` chunks: one for each, and one to merge several."""
    return chunks + (1 if reduce is Reduce.MERGE and chunks > 1 else 0)


def calls_left(total: int, completed: int, reduce: Reduce) -> int:
    """Return how many calls a task still needs at least, if `completed` of its `total` chunks have outputs."""
    return minimum_calls(total, reduce) - completed


def first_line(text: str) -> str | None:
    """Return the beginning of a text's first line that is not blank; None if the text's start is blank."""
    line = text[: limits.FIRST_LINE_WITHIN_CHARS].strip().partition("\n")[0]
    return " ".join(line.split())[: limits.FIRST_LINE_CHARS_MOST] or None


class Failure(NamedTuple):
    """Why a task or a chunk failed. `message` is for the client, and contains none of its text."""

    code: TaskCode
    message: str
    retryable: bool

    @classmethod
    def of(cls, code: str, message: str, retryable: bool) -> "Failure":
        """Make a `Failure` from the error of a model call. Raises ValueError for a code that is not a `TaskCode`."""
        return cls(TaskCode(code), message, retryable)


class LastError(NamedTuple):
    """A task's latest failed model call, if no call of the task has succeeded since.

    `calls` is how many model calls in a row have failed, and `since` is when the first of these calls started. `chunk`
    is the failed call's chunk, None for a call that merges.
    """

    code: TaskCode
    message: str
    at: int
    chunk: int | None
    calls: int
    since: int


COST_LIMIT = "cost_limit"  # Why a task waits whose tenant has used up its month, or whose capped calls have no price.


class Wait(NamedTuple):
    """Why no worker works on a task, `until` when, and how many tasks are `ahead`; None: not known."""

    reason: str
    until: int | None
    ahead: int | None = None


class Usage(NamedTuple):
    """A task's bill. `model_calls` counts every model call that was sent, including calls whose outcome is unknown.

    `reasks` counts the calls that asked a model again because its output did not fit the schema. `rejected` counts the
    answers without a usable output, and `repaired` counts the outputs that became usable through a repair.
    `quotes_not_found` counts quotes of outputs that are not in their source, and so became null. Costs are in
    billionths of a dollar. `cost` leaves the calls in doubt out, and is None if no call had a price.
    """

    model_calls: int
    minimum_calls: int
    in_doubt: int
    input_tokens: int
    output_tokens: int
    reasks: int = 0
    rejected: int = 0
    repaired: int = 0
    quotes_not_found: int = 0
    cached_tokens: int = 0
    cost: int | None = None
    cost_in_doubt: int = 0


class Source(NamedTuple):
    """A task's input without its text: the instructions for each chunk, the overlap and the length, in code points.

    `output_schema` is the schema of the task's outputs as the client wrote it. `join_rules` say how `concat` joins the
    fields of the outputs.
    """

    instructions: str
    overlap: int
    characters: int
    output_schema: Mapping[str, object] | None = None
    join_rules: Mapping[str, str] | None = None


class Mark(NamedTuple):
    """Identifies a write to a task: the claim's fence, and the step within the claim. The later one is greater."""

    fence: int
    step: int


UNTOUCHED = Mark(0, 0)  # The mark of a task that no worker has claimed yet.


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as it was read. `calls_out` and `calls_in_doubt` have the level and position of each output."""

    task_key: TaskKey  # tenant and id
    status: Status
    route: Route
    options: TaskOptions
    total: int
    completed: int
    failed: int  # How many chunks have failed.
    truncated: int = 0  # How many outputs of the task were cut off, outputs of merges included.
    usage: Usage
    attempts: int
    failure: Failure | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    expires_at: int | None
    deadline_at: int | None = None  # When the task must have ended; None if it has no deadline.
    overdue: bool = False  # Whether the task's deadline has passed, but no sweep has ended the task yet.
    late: bool = False  # Whether the task has no worker and should be dispatched again.
    unanswered: bool = False  # Whether the task was dispatched again, and even then no worker claimed it.
    waiting_for: Wait | None = None
    last_error: LastError | None = None
    starts_by: int | None = None  # By when the announced calls must have started; None if no calls are in flight.
    free_at: int | None = None  # When another worker may take the task over from its worker.
    pace_ms: int | None = None  # How many ms pass from one finished call of the task to the next; None if unknown.
    news_at: int = 0  # When the task was last submitted, retried or dispatched, announced calls, or began to fail.
    read_at: int = 0  # The time of this read, by the database's clock.
    # The task's result; None until the task is completed. With `reduce: none` the result is a list, with None in the
    # place of a gap. With `concat` and a schema, the result is the joined value as compact JSON.
    result: str | tuple[str | None, ...] | None = None
    value: object = None  # The JSON value of the result, if the task has a schema.
    quotes: tuple[Quote, ...] = ()  # The quotes in the value, in its order or that of the chunks.
    filtered: bool = False  # Whether a content filter cut off an output that is part of the result.
    source: Source | None = None  # The task's input without its text; None for a task in a list.
    first_line: str | None = None  # The first line of the task's text, while it is kept: see `Finish`.
    announced_at: int | None = None  # When the task's worker last announced model calls.
    calls_out: tuple[tuple[int, int], ...] = ()  # Calls that are announced and may still be in flight.
    # The calls whose outcome is unknown: their worker lost the task at the latest takeover, or its lease is over.
    calls_in_doubt: tuple[tuple[int, int], ...] = ()
    mark: Mark = UNTOUCHED  # The mark of the last write to the task.
    gaps: tuple[Gap, ...] = ()  # The failed chunks without which the task goes on or completed; not in lists.
    coverage: float | None = None  # The share of the text's characters that has outputs; None without gaps.
    retry_of: TaskKey | None = None  # The key of the earlier task whose gaps or lines this task retries.
    # What the task's chunks are; None if they are parts of its text. While a file is being read, `total` is 0.
    kind: Kind | None = None
    text_file: FileKey | None = None  # The file that has the task's text; None if the text is stored with the task.

    @property
    def id(self) -> str:
        """The task's id, by which clients know the task."""
        return split_task_key(self.task_key)[1]

    @property
    def name(self) -> str | None:
        """The first of the task's possible names that is not blank, written in one line."""
        return next((line for name in self.names if (line := " ".join(name.split()))), None)

    @property
    def names(self) -> list[str]:
        """The texts that may name the task: members of its metadata, then the first line of its text."""
        return [*self.options.names, *([] if self.first_line is None else [self.first_line])]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedChunk:
    """A chunk with its `output` or `failure`. A field is None if unknown or not kept."""

    index: int
    start: int
    end: int
    output: str | None
    attempts: int
    failure: Failure | None
    finish_reason: str | None = None  # The provider's reason why the chunk's output ended.
    started_at: int | None = None  # When the call (in a lane, its group) that gave the output started.
    finished_at: int | None = None  # When the call that gave the output ended; in a lane, when the call's group ended.
    first_started_at: int | None = None  # When the first call for the output started; known if the same worker made it.
    lane: int | None = None  # The number of the lane that made the call; None if the task's own worker made it.
    quotes: tuple[Quote, ...] = ()
    rejected: Rejection | None = None  # The last answer for a failed chunk that did not fit the schema.
    is_gap: bool = False  # Whether the chunk failed, but the task continues or has completed without it.
    cached: bool = False  # Whether the output came from the cache of Cloudflare's AI Gateway, which costs nothing.


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTask:
    """A task that is about to be written to the database.

    `cuts` are the offsets at which the chunks end. They are stored, so that a later version of the splitter does not
    change the chunks of an old task.
    """

    task_key: TaskKey
    route: Route
    text: str
    instructions: str
    cuts: tuple[int, ...]
    overlap: int
    merge_chars: int
    created_at: int
    options: TaskOptions
    output_schema: str | None = None  # The output schema as JSON; None if outputs are plain texts.
    join_rules: Mapping[str, str] = field(default_factory=dict)
    headings: str | None = None  # The headings above the chunks, as they are stored.
    kind: Kind | None = None  # What the task's chunks are; None if they are parts of the text.
    text_file: FileKey | None = None  # The file that has the text, in place of `text`, which is empty then.
    file_bytes: int = 0  # How many bytes the file has.
    first_most: int | None = None  # The most that the first call can cost; -1 without a price, None if not known.

    @property
    def first_line(self) -> str | None:
        """The beginning of the text's first line that is not blank; None if the text's start is blank."""
        return first_line(self.text)

    @property
    def characters(self) -> int:
        """How many characters count against the tenant's limit: of a file its bytes, because it is not read yet."""
        return len(self.text) if self.text_file is None else self.file_bytes

    @property
    def minimum_calls(self) -> int:
        """How many model calls the task needs at least, as far as that is known before it runs."""
        return minimum_calls(len(self.cuts), self.options.reduce)
