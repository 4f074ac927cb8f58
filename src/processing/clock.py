"""The clock by which a run judges its own time."""

import asyncio

from ..core import limits


def now() -> float:
    """Return the event loop's steady clock, in seconds: on Workers it stands still between awaits."""
    return asyncio.get_running_loop().time()


def seconds_until(at: float) -> float:
    """Return how long to wait for a moment of this clock, 0 if it has come.

    After a timer the clock may say a hair less than what the timer was for. The wait for that hair is a whole timer as
    well: a shorter one would not move the clock, and whoever waits until the clock says so would never end.
    """
    left = at - now()
    return max(limits.TIMER_SECONDS_LEAST, left) if left > 0 else 0.0
