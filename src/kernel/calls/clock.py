"""The steady clock by which a run measures time, and the conversion between this clock and the database's clock."""

import asyncio
from typing import NamedTuple

from ..domain import limits


def now() -> float:
    """Return the event loop's steady time in seconds. On Workers, time stands still between awaits."""
    return asyncio.get_running_loop().time()


def seconds_until(at: float) -> float:
    """Return how many seconds to wait until a moment of the steady clock; 0 if the moment has passed.

    When a timer fires, the clock may show a tiny fraction less than the timer's moment. If a wait is not over, it lasts
    at least TIMER_SECONDS_LEAST, because a shorter timer would not advance the clock and the wait would never end.
    """
    left = at - now()
    return max(limits.TIMER_SECONDS_LEAST, left) if left > 0 else 0.0


class DatabaseClock(NamedTuple):
    """One reading of the database's clock: this clock showed `epoch_ms` when the steady clock showed `at`."""

    epoch_ms: int  # Milliseconds since the epoch.
    at: float  # Seconds of the steady clock.

    def ms(self, moment: float) -> int:
        """Convert a moment of the steady clock into ms since the epoch by the database's clock."""
        return self.epoch_ms + round((moment - self.at) * 1000)

    def moment(self, ms: float) -> float:
        """Convert ms since the epoch by the database's clock into a moment of the steady clock."""
        return self.at + (ms - self.epoch_ms) / 1000
