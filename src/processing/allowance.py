"""What one invocation may still spend: time, subrequests (model calls, D1 calls, sends alike), and D1 statements."""

from ..core import limits
from ..core.meter import Meter
from ..core.settings import Settings

# A claim's last write, sent again once, and the continuation.
_RESERVE = 3
# The statements of a claim's last write, over all its sends.
_RESERVE_STATEMENTS = 9
# A write that records calls takes this: one statement for the totals, one for outputs, one for failures.
_WRITE_STATEMENTS = 3


def slice_seconds(settings: Settings, most: float, wall: float, slack: float = 0.0) -> float:
    """Return for how long a run may start calls, `most` at most: none of them may be out when the wall comes.

    The wall is the time at which the platform ends the invocation, and `slack` is what a call takes beyond its own
    time. The result is 0 or less if a call may take longer than that.
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
        """When the last of the calls that were announced in time must have started, however long they have to start."""
        return self._ends_at + limits.START_SECONDS

    def spend(self, subrequests: int) -> None:
        """Record subrequests that go out."""
        self._meter.spend(subrequests)

    def affordable_calls(self, now: float, wanted: int, groups_out: int, group_size: int) -> int:
        """Return how many of the wanted calls may start, each of them sure to be recorded at its end.

        Calls go out in groups of up to `group_size`, and `groups_out` groups are out. Each group is one subrequest, and
        may need a separate write.
        """
        if now >= self._ends_at:
            return 0
        left = self._subrequests - self._meter.subrequests_taken - _RESERVE - groups_out
        per_write = min(_WRITE_STATEMENTS, 1 + group_size)  # a single call has either an output or a failure
        statements = self._statements - self._meter.statements_taken - _RESERVE_STATEMENTS - per_write * groups_out
        return max(0, min(wanted, left // 2 * group_size, statements // per_write * group_size))

    def allows_read(self, groups_out: int) -> bool:
        """Whether a read may be spent in addition to what the groups that are out need for their records."""
        left = self._subrequests - self._meter.subrequests_taken - _RESERVE - groups_out
        statements = self._statements - self._meter.statements_taken - _RESERVE_STATEMENTS
        statements -= _WRITE_STATEMENTS * groups_out
        return left > 0 and statements > 0

    def allows_wait(self, seconds: float, now: float) -> bool:
        """Whether the run may wait for this long within its invocation."""
        return seconds <= limits.INLINE_WAIT_SECONDS_MOST and now + seconds < self._ends_at
