"""What one sweep may still spend of its allowance.

The sweep's duties share it, and the sweep checks it before each step.
"""

from collections.abc import Callable
from typing import NamedTuple

from ...core import limits
from ...core.meter import Meter
from ...core.settings import Settings
from .. import clock
from ..allowance import slice_seconds


class StepCost(NamedTuple):
    """The most that a step takes of an invocation's allowance."""

    subrequests: int = 0
    statements: int = 0  # the number of D1's statements in all these subrequests


class SweepAllowance:
    """The seconds, subrequests and statements of one sweep.

    Model calls start for `seconds`, and none start if that is 0; None means as long as a cron trigger may start them.
    """

    _ends_at: float  # The time after which no call starts.
    # The time after which no send starts: a send cut off with its run would have taken tasks for nothing.
    _sends_until: float

    def __init__(self, settings: Settings, meter: Meter, seconds: float | None) -> None:
        self._settings = settings
        self._meter = meter
        if seconds is None:
            self.seconds = slice_seconds(settings, limits.SWEEP_SLICE_SECONDS, limits.SWEEP_WALL_SECONDS)
            self._send_seconds = limits.SWEEP_SLICE_SECONDS
        else:
            self.seconds = seconds
            self._send_seconds = seconds or limits.DIRECT_SLICE_SECONDS
        self._kept_back: Callable[[], StepCost] = StepCost

    def begin(self) -> None:
        """Start the time."""
        self._ends_at = clock.now() + self.seconds
        self._sends_until = clock.now() + self._send_seconds

    def keep_back(self, cost: Callable[[], StepCost]) -> None:
        """Reserve what a later step needs, which `cost` returns at the time, so that earlier steps leave it."""
        self._kept_back = cost

    def affords(self, cost: StepCost) -> bool:
        """Whether the allowance suffices for a step of this cost."""
        return self.subrequests_left() >= cost.subrequests and self.statements_left() >= cost.statements

    def subrequests_left(self) -> int:
        """Return how many subrequests may be made."""
        return self._settings.subrequests - self._meter.subrequests_taken - self._kept_back().subrequests

    def statements_left(self) -> int:
        """Return how many statements may be sent."""
        return self._settings.statements - self._meter.statements_taken - self._kept_back().statements

    def seconds_left(self) -> float:
        """Return for how long model calls may start."""
        return self._ends_at - clock.now()

    def in_time(self) -> bool:
        """Whether the sweep may continue: it never had time for model calls, or some is left."""
        return self.seconds <= 0 or self.seconds_left() > 0

    def too_late_to_send(self) -> bool:
        """Whether no send may start any more."""
        return clock.now() >= self._sends_until
