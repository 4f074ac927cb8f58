"""The clock by which a run judges its own time, and the database's time by that clock."""

import asyncio
from typing import NamedTuple

from ..core import limits


def now() -> float:
    """Return the event loop's steady clock, in seconds. On Workers this clock stands still between awaits."""
    return asyncio.get_running_loop().time()


def seconds_until(at: float) -> float:
    """Return how long to wait for a moment of this clock, 0 if the moment is past.

    After a timer the clock may be a tiny fraction before the moment of the timer. The wait for that fraction is a whole
    timer as well: a shorter timer would not move the clock, and the wait would never end.
    """
    left = at - now()
    return max(limits.TIMER_SECONDS_LEAST, left) if left > 0 else 0.0


class DatabaseClock(NamedTuple):
    """The database's clock, read once: it showed `epoch_ms` when the steady clock showed `at`."""

    epoch_ms: int  # Milliseconds since the epoch.
    at: float  # Seconds of the steady clock.

    def ms(self, moment: float) -> int:
        """Return what the database's clock shows at a moment of the steady clock."""
        return self.epoch_ms + round((moment - self.at) * 1000)

    def moment(self, ms: float) -> float:
        """Return the moment of the steady clock at which the database's clock shows this."""
        return self.at + (ms - self.epoch_ms) / 1000
