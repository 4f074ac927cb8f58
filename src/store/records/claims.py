"""The records of a claim: the facts that a worker gets with it, and the writes that the worker makes under it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from zlib import crc32

from ...core import limits
from ...core.calls.latest_calls import LatestCall
from ...core.ids import TaskKey
from ...core.states import Status
from ...core.structure import Rung
from ...core.task import Failure, LastError, TaskOptions, Wait
from ...core.text.window import Window
from .ladder import NOTHING_COUNTED, Inherited, LadderCounts

START_MS = round(limits.START_SECONDS * 1000)


class CallKey(NamedTuple):
    """Names one needed output, by its level and its index.

    Level 0 are the chunks. Each level above merges the one below.
    """

    level: int
    position: int


def chunk_number(task_key: TaskKey, key: CallKey) -> int:
    """Return a number that identifies a chunk, or a merge's call, within its tenant.

    The number does not reveal the task's id.
    """
    return crc32(f"{task_key}/{key.level}/{key.position}".encode())


class CallTries(NamedTuple):
    """Calls made so far for an output that does not exist yet.

    `attempts` count against MAX_ATTEMPTS. `counted` are failures for a cause of the service that are the chunk's own.
    """

    attempts: int = 0
    calls: int = 0
    counted: int = 0

    def after(self, attempts: int) -> "CallTries":
        """Return the same tries with one call more, which counts as `attempts`."""
        return self._replace(attempts=self.attempts + attempts, calls=self.calls + 1)


class LatestCallsReport(NamedTuple):
    """A tenant's latest calls with one model, as isolates exchange them: the calls, and when one last failed.

    Times are milliseconds since the epoch, by the database's clock.
    """

    calls: tuple[LatestCall, ...]
    failed_ms: int


class CallMade(NamedTuple):
    """How a failed call was made, for the log of the task's calls. Times are in ms.

    `answered`: the provider answered. `model` and `route` are what the call went to, and where its worker ran. `number`
    counts the calls for this output.
    """

    started_ms: int | None
    ended_ms: int | None
    answered: bool
    model: str
    route: str
    number: int = 0
    failure: Failure | None = None


class FailedCall(NamedTuple):
    """A failed call.

    `final`: its output gets no further call. Otherwise no call for this output starts before `rests_until`.

    `held` is when the call started and failed, while it is unknown whether the failure counts. Times are in ms. `made`
    goes into the log; None: an earlier worker recorded the call. `rung` is how far the call has got with outputs that
    do not fit their schema. `gap_chars` are the chunk's characters if its final failure leaves a gap; None: a final
    failure ends the task.
    """

    key: CallKey
    tried: CallTries
    final: bool
    failure: Failure
    rests_until: int | None = None
    held: tuple[int, int] | None = None
    made: CallMade | None = None
    rung: Rung | None = None
    gap_chars: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A granted claim. The totals are those of the whole task, as the worker found them."""

    task_key: TaskKey
    holder: str = ""  # name of this claim
    fence: int
    step: int  # number of the last write
    attempts: int
    stalls: int  # Claims in a row before this one that ended without a finished call.
    rest_ms: int = 0  # How long the task rests, from the claim on, if this claim ends without a finished call too.
    rate_waits: int
    idle_runs: int = 0  # Runs in a row before this one that started no call.
    start_ms: int = START_MS  # How long after their announcement calls may start.
    options: TaskOptions
    total: int
    window: Window  # the text that the run begins with
    instructions: str
    merge_chars: int
    merges: tuple[int, ...] = ()  # The number of calls of each planned merge level.
    # The places where each call's outputs of the highest planned level end in the level below.
    merge_ends: tuple[int, ...] = ()
    calls_settled: int
    calls_in_doubt: int
    input_tokens: int
    output_tokens: int
    truncated: int = 0
    outputs: frozenset[CallKey]
    tried: dict[CallKey, CallTries]  # Calls for outputs that do not exist yet.
    # Calls that failed for good, if their worker could not end the task: no call starts under such a claim.
    refused: dict[CallKey, Failure]
    resting: dict[CallKey, int] = field(default_factory=dict)  # Calls that wait, and for how many ms.
    held: tuple[FailedCall, ...] = ()  # Failures that may be the chunk's fault or the service's.
    announced: frozenset[CallKey]  # Calls that are announced and not settled.
    doubted: frozenset[CallKey]  # Calls in doubt since this claim took over.
    deadline_left_ms: int | None = None  # The time from the writing of the claim to the deadline; None: no deadline.
    claimed_ms: int = 0  # The time when the claim was written, by the database's clock.
    away_ms: int | None = None  # How long the model has been away.
    away_waits: int = 0  # Probes in a row that failed.
    last_error: LastError | None = None
    pace_ms: int | None = None  # The time from one finished call to the next; None until known.
    told: LatestCallsReport | None = None  # The latest calls of other isolates; None if none has failed lately.
    # The rest is for a structured task.
    characters: int = 0  # The characters of the whole text.
    output_schema: str | None = None  # JSON; None: outputs are plain texts.
    inherited: Inherited | None = None  # What a retry of gaps got from the earlier task.
    rungs: dict[CallKey, Rung] = field(default_factory=dict)  # The rungs of calls that have no output yet.
    chunk_chars: dict[CallKey, int] = field(default_factory=dict)  # The sizes of failed chunks that may leave a gap.
    gaps: dict[CallKey, FailedCall] = field(
        default_factory=dict
    )  # Chunks that failed for good without ending the task.
    ladder: LadderCounts = NOTHING_COUNTED


class ClaimRefusal(StrEnum):
    """Why a claim was not granted."""

    MISSING = "missing"
    TERMINAL = "terminal"
    HELD = "held"
    EARLY = "early"
    OVERDUE = "overdue"


class Unclaimed(NamedTuple):
    """A claim that was not granted. `left_ms` is the time until the lease ends or the task is due."""

    standing: ClaimRefusal
    left_ms: int = 0


class Output(NamedTuple):
    """An accepted output and the number of calls it took.

    `finish_reason` is the provider's reason for the end. `started_ms` and `ended_ms` are the times of the call, or of
    its group in a lane, in milliseconds since the epoch by the database's clock. `lane` is the lane's number, and
    `first_ms` is when the first of several calls started. A field is None if it is unknown, or if there is no lane, or
    no other call.
    """

    key: CallKey
    text: str
    calls: int
    finish_reason: str | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    lane: int | None = None
    first_ms: int | None = None


class CallTimes(NamedTuple):
    """When a call started and ended, and when the first of several calls for its output started."""

    started: int | None = None
    ended: int | None = None
    first: int | None = None


UNTIMED = CallTimes()


class MergeLevel(NamedTuple):
    """The plan of a merge level: where each call's outputs end in the level below."""

    level: int
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The contents of one write under a claim. The totals and times are absolute; times are in ms.

    A failed write may have landed or may still land. The next write repeats the failed one's outputs, and may add
    others after them. Each output keeps its piece, because the pieces carry the number of the first of these writes.
    """

    step: int  # number of this write

    outputs: Sequence[Output] = ()
    tries: Sequence[int] = ()  # The number of outputs that each earlier one of these writes had.
    first_step: int | None = None  # The number of the first of these writes; None: this write is the first.
    failures: Sequence[FailedCall] = ()
    merges: Sequence[MergeLevel] = ()  # Planned levels that are not written yet.
    in_flight: Sequence[CallKey] = ()  # Announced calls.
    doubted: Sequence[CallKey] | None = None  # In doubt since the claim, those given up among them; None: as they are.
    calls_settled: int
    calls_in_doubt: int
    calls_minimum: int
    completed: int
    failed: int
    input_tokens: int
    output_tokens: int
    stalls: int
    rate_waits: int
    idle_runs: int = 0
    finished: bool = False  # a call has finished under this claim, with an output or for good
    away_since: int | None = None
    away_waits: int = 0
    last_error: LastError | None = None
    wait: Wait | None = None  # the wait of the run; None if a call is in flight
    pace_ms: int | None = None
    truncated: int = 0
    told: LatestCallsReport | None = None  # calls for other isolates
    ladder: LadderCounts | None = None  # None: as last written


class Release(NamedTuple):
    """Ends a claim. The task may be claimed after `delay_ms`, and the sweep dispatches it after `sweep_ms`."""

    delay_ms: int
    sweep_ms: int


class Finish(NamedTuple):
    """The end of a claim whose task is completed. `top_level` is the merge's last level, 0 without a merge.

    The end also empties the task's input, unless `keep_input` is set. `gaps`: some chunks have none. Then a retry needs
    the input.
    """

    retention_ms: int
    top_level: int = 0
    keep_input: bool = False
    gaps: bool = False

    @property
    def status(self) -> Status:
        """The status that the task gets."""
        return Status.COMPLETED


class Fail(NamedTuple):
    """The end of a claim whose task failed."""

    retention_ms: int
    failure: Failure

    @property
    def status(self) -> Status:
        """The status that the task gets."""
        return Status.FAILED


class Continue(NamedTuple):
    """The continuation of a claim, which renews its lease. The announced calls start within `start_ms` or not at all.

    With `room_bytes`, nothing is written unless the database has that much space in addition.
    """

    lease_ms: int
    start_ms: int = START_MS
    room_bytes: int = 0


Ending = Release | Finish | Fail
Step = Continue | Ending
