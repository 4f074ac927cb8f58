"""Limits what one sweep may spend: seconds, subrequests and statements.

All duties of a sweep share one allowance, and before each step the sweep checks whether the allowance suffices for the
step.
"""

from collections.abc import Callable
from typing import NamedTuple

from ...core import limits
from ...core.meter import Meter
from ...core.settings import Settings
from .. import clock
from ..allowance import slice_seconds


class StepCost(NamedTuple):
    """The most subrequests and statements that one step of the sweep takes."""

    subrequests: int = 0
    statements: int = 0  # how many D1 statements all subrequests of the step contain together


class SweepAllowance:
    """How many seconds, subrequests and statements one sweep may spend.

    Model calls may start for `seconds`, and no call may start if `seconds` is 0. If `seconds` is None, model calls may
    start for as long as in the invocation of a cron trigger.
    """

    _ends_at: float  # When the last model call may start, by the steady clock.
    # The latest time at which the sweep may dispatch a task. If the invocation ended in the middle of a dispatch, the
    # task's dispatch would have been taken in vain.
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
        """Start to measure the time of the sweep."""
        self._ends_at = clock.now() + self.seconds
        self._sends_until = clock.now() + self._send_seconds

    def keep_back(self, cost: Callable[[], StepCost]) -> None:
        """Reserve what a later step needs; `cost` returns this amount whenever the allowance is checked."""
        self._kept_back = cost

    def affords(self, cost: StepCost) -> bool:
        """Whether the sweep's allowance suffices for a step of the given cost."""
        return self.subrequests_left() >= cost.subrequests and self.statements_left() >= cost.statements

    def subrequests_left(self) -> int:
        """Return how many subrequests the sweep may still make, not counting the reserve."""
        return self._settings.subrequests - self._meter.subrequests_taken - self._kept_back().subrequests

    def statements_left(self) -> int:
        """Return how many statements the sweep may still send, not counting the reserve."""
        return self._settings.statements - self._meter.statements_taken - self._kept_back().statements

    def seconds_left(self) -> float:
        """Return for how many more seconds model calls may start."""
        return self._ends_at - clock.now()

    def in_time(self) -> bool:
        """Whether the sweep may continue: it has time for model calls left, or was allowed none from the beginning."""
        return self.seconds <= 0 or self.seconds_left() > 0

    def too_late_to_send(self) -> bool:
        """Whether it is too late for the sweep to dispatch a task."""
        return clock.now() >= self._sends_until
