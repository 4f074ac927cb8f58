"""The steady clock by which a run measures time, its conversion to the database's clock, and pauses in long work."""

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


class LongWork:
    """Counts an event's work since its last await, in characters of JSON: the clock stands while code runs."""

    def __init__(self) -> None:
        self._chars = 0

    async def did(self, chars: int) -> None:
        """Count work that takes as long as so many characters. After WORK_CHARS_AT_ONCE of them, others have a turn.

        Only a timer of TIMER_SECONDS_LEAST or more lets other events run: a shorter one is a microtask.
        """
        self._chars += chars
        if self._chars >= limits.WORK_CHARS_AT_ONCE:
            self._chars = 0
            await asyncio.sleep(limits.TIMER_SECONDS_LEAST)
