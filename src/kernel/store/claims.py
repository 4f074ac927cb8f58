"""The records of a claim: what a worker learns of the task, and what it writes and asks with each step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from ..calls.model_health import LatestCall
from ..domain import limits
from ..domain.ids import FileKey, TaskKey
from ..domain.structure import Quote, Rejection
from ..domain.task import Failure, Kind, LastError, TaskOptions, Wait
from ..text.chunks import Window
from .d1 import BoundStatement, Row, Value
from .options import NOTHING_COUNTED, AnswerCounts, Inherited


class Also(NamedTuple):
    """What the inputs of a run write and read in the transaction that records a step, in addition to the step.

    `writes` makes SQL statements from the parameters that name the claim and the step. These statements run before the
    step's own statements, and must change nothing if the claim is lost. `hears` gets the rows that the statement `asks`
    returned, if the step took effect.
    """

    writes: Callable[[Mapping[str, Value]], Sequence[BoundStatement]] = lambda under: ()
    asks: BoundStatement | None = None
    hears: Callable[[Sequence[Row]], None] = lambda rows: None


NOTHING_ELSE = Also()
START_MS = round(limits.START_SECONDS * 1000)


class CallKey(NamedTuple):
    """Names an output that a task needs, and the model calls for this output, by level and position in the level.

    Level 0 has the outputs of the chunks. The calls of each higher level merge the outputs of the level below.
    """

    level: int
    position: int


class Tries(NamedTuple):
    """Counts the calls made so far for an output that does not exist yet.

    `attempts` count against MAX_ATTEMPTS. `counted` failures look like the model service's fault, and count too.
    """

    attempts: int = 0
    calls: int = 0
    counted: int = 0

    def after(self, attempts: int) -> "Tries":
        """Return these counts after one more call, with `attempts` added to the attempts."""
        return self._replace(attempts=self.attempts + attempts, calls=self.calls + 1)


class SharedCalls(NamedTuple):
    """A tenant's latest calls to one model, and when one last failed, in ms since the epoch by the database's clock."""

    calls: tuple[LatestCall, ...]
    failed_ms: int


class AttemptEntry(NamedTuple):
    """How a failed model call was made, for the log of its task's calls. Times are in ms.

    `answered` says that the provider answered the call. `model` is the model that was called, and `route` is where the
    call's worker ran. `number` counts the calls for the same output.
    """

    started_ms: int | None
    ended_ms: int | None
    answered: bool
    model: str
    route: str
    number: int = 0
    failure: Failure | None = None


class Money(NamedTuple):
    """What a task's calls cost, in billionths of a dollar: settled calls, and the most of those in doubt and out."""

    booked: int | None = None  # None if no call had a price.
    in_doubt: int = 0
    out: int = 0


UNPRICED = Money()


class FailedCall(NamedTuple):
    """A model call that failed, as a write records it.

    `final` says that no further call is made for this output. If `final` is not set, the output's next call starts at
    `rests_until` or later. `held` has the ms when the call started and failed, while it is unknown whether the failure
    counts against the chunk. `entry` goes into the log of the task's calls; None if an earlier worker recorded the
    call. `rejection` is the model's last answer that was rejected. `gap_chars` is the chunk's length, or None if the
    chunk's final failure ends the task; for a line of a batch it is 0. `provider_answer` is JSON: how the
    provider refused a line of a batch for good.
    """

    key: CallKey
    tried: Tries
    final: bool
    failure: Failure
    rests_until: int | None = None
    held: tuple[int, int] | None = None
    entry: AttemptEntry | None = None
    rejection: Rejection | None = None
    gap_chars: int | None = None
    provider_answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A granted claim of a task. A claim's totals are those of the whole task, as the claim found them."""

    task_key: TaskKey
    holder: str = ""  # The random name of this claim.
    fence: int
    step: int  # The number of the task's last write under this claim.
    attempts: int
    stalls: int  # Claims in a row, before this one, that ended without a finished call.
    rest_ms: int = 0  # How long the task rests, from this claim on, if this claim ends without a finished call.
    rate_waits: int
    idle_runs: int = 0  # How many runs of the task in a row before this one started no call.
    start_ms: int = START_MS  # For how many ms after their announcement calls may start.
    options: TaskOptions
    total: int
    window: Window  # The part of the task's text that the run begins with.
    instructions: str
    merge_chars: int
    merges: tuple[int, ...] = ()  # How many calls each merge level has that is already planned.
    merge_ends: tuple[int, ...] = ()  # Of the highest planned level: where each call's outputs end in the level below.
    calls_settled: int
    calls_in_doubt: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    money: Money = UNPRICED
    truncated: int = 0
    outputs: frozenset[CallKey]
    tried: dict[CallKey, Tries]  # For outputs that do not exist yet, how many calls were made for them.
    # Failures of calls that failed for good, if the worker did not end the task: then no call starts.
    failed_for_good: dict[CallKey, Failure]
    paused: dict[CallKey, int] = field(default_factory=dict)  # For each call that must still wait, the ms to wait.
    held: tuple[FailedCall, ...] = ()  # Failed calls that may be the fault of their chunk or of the model service.
    announced: frozenset[CallKey]  # Calls that were announced and have no recorded end.
    doubted: frozenset[CallKey]  # Calls whose outcome is unknown since this claim took the task over.
    deadline_left_ms: int | None = None  # The ms from the claim to the task's deadline; None without a deadline.
    claimed_ms: int = 0  # The time at which the claim was written, by the database's clock.
    away_ms: int | None = None  # For how many ms the model has been away for the task.
    away_waits: int = 0  # How many of the task's probes of the model have failed in a row.
    resumed: bool = False  # Whether an operator has ended the task's pause since its last call failed.
    last_error: LastError | None = None
    pace_ms: int | None = None  # How many ms pass from one finished call to the next; None if unknown.
    shared: SharedCalls | None = None  # Other isolates' latest calls; None if no call has failed lately.
    # All further fields of a `Claim` are for structured tasks only.
    characters: int = 0  # How many characters the task's whole text has.
    output_schema: str | None = None  # The output schema as JSON; None if outputs are plain texts.
    join_rules: Mapping[str, str] = field(default_factory=dict)  # The rules by which fields of the outputs are joined.
    inherited: Inherited | None = None  # What this task got from the task whose gaps it retries, if any.
    headings: str | None = None  # The headings above the chunks, as they are stored.
    rejections: dict[CallKey, Rejection] = field(default_factory=dict)  # The last rejected answer, by output.
    chunk_chars: dict[CallKey, int] = field(default_factory=dict)  # Lengths of failed chunks that may leave a gap.
    gaps: dict[CallKey, FailedCall] = field(default_factory=dict)  # Failed chunks without which the task continues.
    capped: bool = False  # Whether the tenant has a cap for its month.
    answer_counts: AnswerCounts = NOTHING_COUNTED
    kind: Kind | None = None  # What the chunks are; None if they are parts of the task's text.
    text_file: FileKey | None = None  # The file that has the task's text.
    left_out: frozenset[CallKey] = frozenset()  # Further chunks that failed for good; the task goes on without them.


class ClaimRefusal(StrEnum):
    """Why a worker's claim of a task was not granted."""

    MISSING = "missing"
    TERMINAL = "terminal"
    HELD = "held"
    EARLY = "early"
    OVERDUE = "overdue"
    UNKNOWN_KIND = "unknown_kind"  # Newer code has made the task, and only newer code works on it.


class Unclaimed(NamedTuple):
    """Why a claim was not granted. `left_ms` is how many ms pass until the lease ends or the task is due."""

    standing: ClaimRefusal
    left_ms: int = 0


class Output(NamedTuple):
    """An accepted output, and the number of model calls for it.

    `finish_reason` is the provider's reason for the output's end. `started_ms` and `ended_ms` are when the successful
    call, or its group in a lane, started and ended, in ms since the epoch by the database's clock. `lane` is the number
    of the call's lane, if it had one, and `first_ms` is when the first of several calls for the output started. A field
    of an output is None if it is unknown. `cached` says that the output came from a gateway's cache.
    """

    key: CallKey
    text: str
    calls: int
    finish_reason: str | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    lane: int | None = None
    first_ms: int | None = None
    quotes: tuple[Quote, ...] = ()
    cached: bool = False


class MergeLevel(NamedTuple):
    """The plan of a merge level: for each of the level's calls, the end of its outputs in the level below."""

    level: int
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one write under a claim records. Totals count from the start of the task, and times are in ms.

    A write that failed may have taken effect or may still do so. The write after a failed one repeats the failed
    write's outputs, and may add others after them. The pieces that hold the outputs carry the number of the first write
    that contained them, so that no output is stored twice.
    """

    step: int  # The number of this write.

    outputs: Sequence[Output] = ()
    tries: Sequence[int] = ()  # How many outputs each earlier try of the same write had.
    first_step: int | None = None  # The number of the first try of the write; None if no try came before.
    failures: Sequence[FailedCall] = ()
    merges: Sequence[MergeLevel] = ()  # The merge levels whose plan is not written to the database yet.
    announces: bool = False  # Whether the write announces calls.
    in_flight: Sequence[CallKey] = ()  # The model calls that the write announces, and those in flight.
    doubted: Sequence[CallKey] | None = None  # Calls in doubt since the claim, or given up; None: as in the row.
    calls_settled: int
    calls_in_doubt: int
    calls_minimum: int
    completed: int
    failed: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    money: Money = UNPRICED
    stalls: int
    rate_waits: int
    idle_runs: int = 0
    finished: bool = False  # Whether a call under this claim gave an output or failed for good.
    away_since: int | None = None
    away_waits: int = 0
    last_error: LastError | None = None
    wait: Wait | None = None  # What the run waits for; None if a call is in flight.
    asked_until: int | None = None  # Until when the provider has asked for a pause; None if it has not.
    pace_ms: int | None = None
    truncated: int = 0
    shared: SharedCalls | None = None  # This isolate's latest calls, which the write shares with other isolates.
    segment_chars: int | None = None  # So many characters fill a segment of outputs, too; None if only bytes count.
    answer_counts: AnswerCounts | None = None  # A structured task's new counters; None leaves the last written ones.


class Release(NamedTuple):
    """Ends a claim: the task may be claimed again after `delay_ms`, and the sweep dispatches it after `sweep_ms`."""

    delay_ms: int
    sweep_ms: int


class Finish(NamedTuple):
    """Ends a claim by completing its task. `top_level` is the last merge level, or 0 if nothing was merged.

    Completing a task also erases its input text, unless `keep_input` or `gaps` is set, and with the text its first
    line, unless `keep_name` is set. `gaps` says that chunks may have failed without ending the task; a retry of these
    gaps needs the input. `may_be_empty` says that the task may complete without any output.
    """

    retention_ms: int
    top_level: int = 0
    keep_input: bool = False
    keep_name: bool = False
    gaps: bool = False
    may_be_empty: bool = False

    @property
    def keeps_input(self) -> bool:
        """Whether the task's input text is kept."""
        return self.keep_input or self.gaps


class Fail(NamedTuple):
    """Ends a worker's claim by failing its task."""

    retention_ms: int
    failure: Failure


class Continue(NamedTuple):
    """Continues a claim and renews its lease. The announced calls must start within `start_ms`, or not at all.

    If `room_bytes` is set, the write is refused unless the database has so many free bytes besides what is written.
    """

    lease_ms: int
    start_ms: int = START_MS
    room_bytes: int = 0


Ending = Release | Finish | Fail
Next = Continue | Ending
