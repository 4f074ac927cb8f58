"""Limits what one sweep may spend: seconds, subrequests and statements.

All duties of a sweep share its allowance, and each step is checked against the allowance first.
"""

from collections.abc import Callable
from typing import NamedTuple

from ...core import limits
from ...core.meter import Meter
from ...core.settings import Settings
from .. import clock
from ..allowance import slice_seconds


class StepCost(NamedTuple):
    """The most subrequests and statements that a step of the sweep takes."""

    subrequests: int = 0
    statements: int = 0  # the D1 statements in all subrequests of the step together


class SweepAllowance:
    """How many seconds, subrequests and statements one sweep may spend.

    Model calls may start for `seconds`, and no call may start if `seconds` is 0. If `seconds` is None, model calls may
    start for as long as a cron trigger allows.
    """

    _ends_at: float  # When the last model call may start, by the steady clock.
    # The latest time at which the sweep may dispatch a task. A dispatch that is cut off with its invocation would have
    # taken on a task in vain.
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
        """Start the clock of the sweep."""
        self._ends_at = clock.now() + self.seconds
        self._sends_until = clock.now() + self._send_seconds

    def keep_back(self, cost: Callable[[], StepCost]) -> None:
        """Reserve the amount that a later step needs, which `cost` returns whenever the allowance is checked."""
        self._kept_back = cost

    def affords(self, cost: StepCost) -> bool:
        """Whether the sweep's allowance suffices for a step of the given cost."""
        return self.subrequests_left() >= cost.subrequests and self.statements_left() >= cost.statements

    def subrequests_left(self) -> int:
        """Return how many subrequests the sweep may still make, without the reserve."""
        return self._settings.subrequests - self._meter.subrequests_taken - self._kept_back().subrequests

    def statements_left(self) -> int:
        """Return how many statements the sweep may still send, without the reserve."""
        return self._settings.statements - self._meter.statements_taken - self._kept_back().statements

    def seconds_left(self) -> float:
        """Return for how many more seconds model calls may start."""
        return self._ends_at - clock.now()

    def in_time(self) -> bool:
        """Whether the sweep may go on: it has time for model calls left, or may not start any from the beginning."""
        return self.seconds <= 0 or self.seconds_left() > 0

    def too_late_to_send(self) -> bool:
        """Whether it is too late for the sweep to dispatch a task."""
        return clock.now() >= self._sends_until
