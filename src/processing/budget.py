"""What one invocation may still spend: time, and subrequests (model calls, D1 calls, sends alike)."""

from ..core import limits
from ..core.meter import Meter

# A claim's last write, sent again once, and the continuation.
_RESERVE = 3


class Budget:
    """Holds a run to its seconds and its invocation to its subrequests."""

    def __init__(self, seconds: float, subrequests: int, meter: Meter, started_at: float) -> None:
        self._ends_at = started_at + seconds
        self._subrequests = subrequests
        self._meter = meter

    def room(self, now: float, wanted: int, in_flight: int, group: int) -> int:
        """Return how many of the wanted calls may start, each of them sure to be recorded at its end.

        Every group of calls is one subrequest, and may need a write of its own.
        """
        if now >= self._ends_at:
            return 0
        left = self._subrequests - self._meter.subrequests - _RESERVE - -(-in_flight // group)
        return max(0, min(wanted, left // 2 * group))

    def allows_wait(self, seconds: float, now: float) -> bool:
        """Whether a wait of this length may be sat out within the invocation."""
        return seconds <= limits.INLINE_WAIT_SECONDS_MOST and now + seconds < self._ends_at
