"""What a duty of the sweep is, and how much a sweep may spend on its duties."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...calls import clock
from ...domain import limits
from ...domain.meter import Meter
from ...domain.settings import Settings
from ...run.allowance import slice_seconds
from ...store.d1 import BoundStatement, Row


class DutyCost(NamedTuple):
    """The most subrequests and statements that one step of the sweep takes."""

    subrequests: int = 0
    statements: int = 0  # how many D1 statements all subrequests of the step contain together


class SweepAllowance:
    """How many seconds, subrequests and statements one sweep may spend.

    Model calls may start for `seconds`, and not at all if it is 0; with None, for as long as under cron.
    """

    _ends_at: float  # When the last model call may start, by the steady clock.
    _sends_until: float  # When the last dispatch may start: the end of the invocation might cut off a later one.

    def __init__(self, settings: Settings, meter: Meter, seconds: float | None) -> None:
        self._settings = settings
        self._meter = meter
        if seconds is None:
            self.seconds = slice_seconds(settings, limits.SWEEP_SLICE_SECONDS, limits.SWEEP_WALL_SECONDS)
            self._send_seconds = limits.SWEEP_SLICE_SECONDS
        else:
            self.seconds = seconds
            self._send_seconds = seconds or limits.DIRECT_SLICE_SECONDS
        self._kept_back: Callable[[], DutyCost] = DutyCost

    def begin(self) -> None:
        """Start to measure the time of the sweep."""
        self._ends_at = clock.now() + self.seconds
        self._sends_until = clock.now() + self._send_seconds

    def keep_back(self, cost: Callable[[], DutyCost]) -> None:
        """Reserve what a later step needs; `cost` returns this amount whenever the allowance is checked."""
        self._kept_back = cost

    def affords(self, cost: DutyCost) -> bool:
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


class Duty:
    """A duty of one sweep. Its defaults are those of a duty that needs no look and leaves nothing to its end."""

    cost = DutyCost()  # The most that one advance takes.
    alone = False  # True if the duty is left to sweeps after which no task may run in the same invocation.

    def look(self) -> BoundStatement | None:
        """Make the statement that finds the duty's work, in the sweep's first read. Equal ones are sent once."""
        return None

    def found(self, rows: Sequence[Row], *, runs_tasks: bool) -> None:
        """Take the rows of the statement. With `runs_tasks`, tasks may run in this invocation before the first step."""

    @property
    def is_urgent(self) -> bool:
        """Whether the duty has found work that should not always wait for a backlog of tasks."""
        return False

    @property
    def frees_space(self) -> bool:
        """Whether the duty will probably free space in the database."""
        return False

    def kept(self) -> DutyCost:
        """Return what the duty will need at the sweep's end, which a run of a task must leave."""
        return DutyCost()

    async def advance(self, allowance: SweepAllowance) -> bool:
        """Do one step of the duty, and return whether there is more to do. Raises nothing."""
        raise NotImplementedError


async def do(duty: Duty, allowance: SweepAllowance) -> None:
    """Do a duty, as far as the allowance suffices."""
    while allowance.affords(duty.cost) and await duty.advance(allowance):
        pass
