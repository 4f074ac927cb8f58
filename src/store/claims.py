"""What a worker holds while it works on a task, and what it tells the store."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple
from zlib import crc32

from ..core import limits
from ..core.ids import TaskKey
from ..core.latest_calls import LatestCall
from ..core.states import Status
from ..core.task import Failure, LastError, TaskOptions, Wait
from ..core.window import Window

START_MS = round(limits.START_SECONDS * 1000)


class CallKey(NamedTuple):
    """Names one needed output: level 0 are the chunks, each level above merges the one below."""

    level: int
    position: int


def chunk_number(task_key: TaskKey, key: CallKey) -> int:
    """Return a number that names a chunk, or a merge's call, among those of its tenant. It tells no task's id."""
    return crc32(f"{task_key}/{key.level}/{key.position}".encode())


class Tried(NamedTuple):
    """Calls made so far for an output that is not there yet.

    `attempts` count against MAX_ATTEMPTS, `counted` are failures of the service that are the chunk's own trouble.
    """

    attempts: int = 0
    calls: int = 0
    counted: int = 0

    def after(self, attempts: int) -> "Tried":
        """Return the same with one call more, which counts as so many attempts."""
        return self._replace(attempts=self.attempts + attempts, calls=self.calls + 1)


class Told(NamedTuple):
    """What isolates tell each other of a tenant's latest calls with one model: these, and when one last failed.

    Times are milliseconds since the epoch, by the database's clock.
    """

    calls: tuple[LatestCall, ...]
    failed_ms: int


class FailedCall(NamedTuple):
    """A call that failed; `final` when no other will be made for it, and else none before `rests_until`.

    `held` is when it started and failed, while it is not known whether that counts. Times are in ms.
    """

    key: CallKey
    tried: Tried
    final: bool
    failure: Failure
    rests_until: int | None = None
    held: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim that was granted; `holder` is its name. Totals are those of the whole task, as the worker found them.

    `refused` are the calls that have failed for good, if the worker that recorded it could not end the task: no call
    starts under such a claim. `deadline_left_ms` was left when the claim was written; None without a deadline.
    `step` is the number of the last write. `stalls` are the claims in a row before this one that ended without a
    finished call; for `rest_ms` from the claim on nobody else takes the task if this one ends so, too. `idle_runs` are
    the runs in a row before this one that started nothing, `start_ms` is how long calls may start after their
    announcement, as the database has it now.
    `claimed_ms` is when the claim was written, by the database's clock. `window` is the text that the run begins with.
    `merges` are the numbers of calls of the merge levels that are planned, `merge_ends` is the plan of the highest one:
    where each of its calls' outputs end in the level below. The model has been away for `away_ms`, after `away_waits`
    calls that asked for it. `pace_ms` is the time from one finished call to the next, None until it is known.
    `resting` are calls that wait for so many ms more, each for itself, `held` failures of which it is not known whether
    they count. `told` is what other isolates have told, None if
    no call has failed of late.
    """

    task_key: TaskKey
    holder: str = ""
    fence: int
    step: int
    attempts: int
    stalls: int
    rest_ms: int = 0
    rate_waits: int
    idle_runs: int = 0
    start_ms: int = START_MS
    options: TaskOptions
    total: int
    window: Window
    instructions: str
    merge_chars: int
    merges: tuple[int, ...] = ()
    merge_ends: tuple[int, ...] = ()
    calls_settled: int
    calls_in_doubt: int
    input_tokens: int
    output_tokens: int
    truncated: int = 0
    outputs: frozenset[CallKey]
    tried: dict[CallKey, Tried]
    refused: dict[CallKey, Failure]
    resting: dict[CallKey, int] = field(default_factory=dict)
    held: tuple[FailedCall, ...] = ()
    announced: frozenset[CallKey]
    doubted: frozenset[CallKey]
    deadline_left_ms: int | None = None
    claimed_ms: int = 0
    away_ms: int | None = None
    away_waits: int = 0
    last_error: LastError | None = None
    pace_ms: int | None = None
    told: Told | None = None


class Standing(StrEnum):
    """Why a claim was not granted."""

    MISSING = "missing"
    TERMINAL = "terminal"
    HELD = "held"
    EARLY = "early"
    OVERDUE = "overdue"


class Unclaimed(NamedTuple):
    """A claim that was not granted; `left_ms` until the lease ends or the task is due."""

    standing: Standing
    left_ms: int = 0


class Output(NamedTuple):
    """An accepted output and the number of calls it took.

    `finish_reason` is the provider's word for why the output ends. The times are when the call, or the group in which a
    lane made it, started and ended: milliseconds since the epoch by the database's clock. `lane` is that lane's number,
    `first_ms` when the first of several calls started. None: not known, or no lane, or no other call.
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
    """When a call started and ended, and when the first of several for its output started, as an output has them."""

    started: int | None = None
    ended: int | None = None
    first: int | None = None


UNTIMED = CallTimes()


class MergeLevel(NamedTuple):
    """The plan of a merge's level: where each call's outputs end in the level below."""

    level: int
    ends: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What one write under a claim says. `step` is its number. Totals are absolute, and so are times, in ms.

    `finished` says that a call has finished under this claim, with an output or for good.
    A write that failed may have landed, or may land yet. The next one tells its outputs once more, and perhaps others
    after them: `tries` is how many each of the writes before it told, and `first_step` the number of the first of them,
    where there is one. Under that number each output stays the same piece. `merges` are levels that are planned and not
    written yet. `wait` is what the run waits for if no call is out. `told` is for other isolates.
    """

    step: int

    outputs: Sequence[Output] = ()
    tries: Sequence[int] = ()
    first_step: int | None = None
    failures: Sequence[FailedCall] = ()
    merges: Sequence[MergeLevel] = ()
    in_flight: Sequence[CallKey] = ()
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
    finished: bool = False
    away_since: int | None = None
    away_waits: int = 0
    last_error: LastError | None = None
    wait: Wait | None = None
    pace_ms: int | None = None
    truncated: int = 0
    told: Told | None = None


class Release(NamedTuple):
    """Ends a claim, to be taken up again after `delay_ms`; the sweep looks after `sweep_ms`."""

    delay_ms: int
    sweep_ms: int


class Finish(NamedTuple):
    """Ends a claim with a completed task; `top_level` is the merge's last one, 0 without a merge.

    The task's input is emptied with it, unless it is to be kept.
    """

    retention_ms: int
    top_level: int = 0
    keep_input: bool = False

    @property
    def status(self) -> Status:
        """The status that the task gets."""
        return Status.COMPLETED


class Fail(NamedTuple):
    """Ends a claim with a failed task."""

    retention_ms: int
    failure: Failure

    @property
    def status(self) -> Status:
        """The status that the task gets."""
        return Status.FAILED


class Continue(NamedTuple):
    """Keeps the claim and renews its lease. The calls that are announced start within `start_ms` or not at all.

    With `room_bytes` nothing is written unless the database has that much room beside what is written.
    """

    lease_ms: int
    start_ms: int = START_MS
    room_bytes: int = 0


Ending = Release | Finish | Fail
Step = Continue | Ending
