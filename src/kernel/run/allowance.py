"""Limits what one invocation spends: time, subrequests (model calls, D1 calls and messages), and D1 statements."""

from ..domain import limits
from ..domain.meter import Meter
from ..domain.settings import Settings

# Kept for the end of a run: its last write, a repetition of it, and the message that continues the task.
_RESERVE = 3
# Statements reserved for a run's last write and its repetition.
_RESERVE_STATEMENTS = 9
# For how many groups in flight, for each that there may be, the allowance must suffice while answers come in parts.
_PARTS_LEAST = 6
# The most statements of a write that records calls: one for the totals, one for outputs, one for failures.
_WRITE_STATEMENTS = 3


def slice_seconds(settings: Settings, most: float, wall: float, slack: float = 0.0) -> float:
    """Return for how many seconds, at most `most`, a run may start calls so that every call ends before the invocation.

    `wall` is the time after which the platform ends the invocation. `slack` is the additional time that a call may take
    on its way. The result is 0 or less if a call may take longer than the invocation lasts.
    """
    return min(most, wall - settings.longest_call_seconds - slack - limits.WALL_MARGIN_SECONDS)


class Allowance:
    """Keeps a run within its seconds and its invocation within its subrequests and statements."""

    def __init__(self, seconds: float, subrequests: int, statements: int, meter: Meter, started_at: float) -> None:
        self._ends_at = started_at + seconds
        self._subrequests = subrequests
        self._statements = statements
        self._meter = meter

    @property
    def latest_start(self) -> float:
        """The latest time, by the event loop's clock, at which a call of the run may start."""
        return self._ends_at + limits.START_SECONDS

    def spend(self, subrequests: int) -> None:
        """Count the subrequests that the run is sending now."""
        self._meter.spend(subrequests)

    def affordable_calls(self, now: float, wanted: int, groups_out: int, group_size: int) -> int:
        """Return how many of the wanted calls may start, so that the allowance still suffices to record each of them.

        Calls are sent in groups of up to `group_size`; `groups_out` is how many groups were sent and have not ended.
        Each group of calls is one subrequest, and may need a write to D1 of its own.
        """
        if now >= self._ends_at:
            return 0
        per_write = min(_WRITE_STATEMENTS, 1 + group_size)  # a group of one call records either an output or a failure
        left, statements = self._left(groups_out, per_write)
        return max(0, min(wanted, left // 2 * group_size, statements // per_write * group_size))

    def allows_read(self, groups_out: int) -> bool:
        """Whether the allowance suffices for one read besides the writes that record the groups of calls in flight."""
        return min(self._left(groups_out, _WRITE_STATEMENTS)) > 0

    def allows_parts(self, groups_most: int) -> bool:
        """Whether the allowance suffices for answers in parts, of at most `groups_most` groups at a time.

        They may cost a subrequest and a write for each call. On the free plan they would divide a task among more
        invocations, each with its claim.
        """
        left, statements = self._left(0, 0)
        least = _PARTS_LEAST * groups_most
        return left >= least and statements >= least * _WRITE_STATEMENTS

    def _left(self, groups_out: int, per_write: int) -> tuple[int, int]:
        """Return the subrequests and statements that are left beside the run's end and the groups in flight."""
        subrequests = self._subrequests - self._meter.subrequests_taken - _RESERVE - groups_out
        statements = self._statements - self._meter.statements_taken - _RESERVE_STATEMENTS
        return subrequests, statements - per_write * groups_out

    def allows_wait(self, seconds: float, now: float) -> bool:
        """Whether the run may wait for `seconds` seconds within its invocation."""
        return seconds <= limits.INLINE_WAIT_SECONDS_MOST and now + seconds < self._ends_at
