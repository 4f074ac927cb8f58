"""Checks whether a run's claim is still valid, while the run waits for slow calls and no write would show it.

One check is one read of the task's row. A host that learns that its task has ended gives the run a hint, and the run
checks at once.
"""

import asyncio
import math

from ...core import limits
from ...core.calls.pace import start_seconds
from ...core.errors import StoreError
from .. import clock
from ..hint import Hint
from ..outcomes import ClaimLost
from .context import RunContext


class CheckSchedule:
    """When a run checks next: LOOK_SECONDS_FIRST after its last write, then later, up to `most` times. Pure.

    A write shows the same as a check, so the schedule begins anew after a write. The pauses double up to
    LOOK_SECONDS_MOST; after checks without an answer they double without end, and they are longer from the start on a
    slow database.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._since = -math.inf
        self._seconds = limits.LOOK_SECONDS_FIRST

    def next_at(self, wrote_at: float, latency: float) -> float:
        """Return when the next check is due after a write at `wrote_at`, if a write takes `latency` seconds."""
        if wrote_at > self._since:
            self._since, self._seconds = wrote_at, limits.LOOK_SECONDS_FIRST
        space = max(self._seconds, limits.LOOK_LATENCIES * latency)
        return self._since + space if self._left > 0 else math.inf

    def checked(self, now: float, *, answered: bool) -> None:
        """Record a check that has ended."""
        self._left -= 1
        self._since = now
        self._seconds *= 2
        if answered:
            self._seconds = min(self._seconds, limits.LOOK_SECONDS_MOST)


class ClaimChecks:
    """The checks of one run."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._schedule = CheckSchedule(limits.LOOKS_MOST[context.settings.plan])
        self.hint = context.hint or Hint()
        self._said_spent = False

    def next_at(self, wrote_at: float, groups_out: int) -> float:
        """Return when the run checks next: never while no call is out, or if the allowance has no check left.

        If no check is left, a task that ends keeps its host until the next call has ended. The log says so, once.
        """
        if groups_out == 0:
            return math.inf
        due_at = math.inf
        if self._context.allowance.allows_read(groups_out):
            due_at = self._schedule.next_at(wrote_at, self._context.latency.seconds(clock.now()))
        if due_at == math.inf and not self._said_spent:
            self._said_spent = True
            self._context.log("looks_spent", groups=groups_out)
        return due_at

    async def check(self, wrote_at: float, groups_out: int) -> None:
        """Check the claim, if a check is due or the hint was given. Raises ClaimLost if the claim is over.

        A hint that the task ended under this claim suffices: with six calls out, no connection is free for a check. A
        check without an answer in time ends nothing: calls that are out are paid for, and the run continues.
        """
        log = self._context.log
        given = self.hint.take()
        if given is not None and given >= self._context.claim.fence:
            log("let_go", told=True)
            raise ClaimLost
        hinted = given is not None and self._context.allowance.allows_read(groups_out)
        if not hinted and clock.now() < self.next_at(wrote_at, groups_out):
            return
        seconds = start_seconds(self._context.latency.seconds(clock.now()))
        goes_on, answered = True, True
        try:
            async with asyncio.timeout(seconds):
                goes_on = await self._context.store.stands(self._context.claim)
        except (StoreError, TimeoutError) as error:
            answered = False
            log("look_failed", error=type(error).__name__)
        self._schedule.checked(clock.now(), answered=answered)
        if not goes_on:
            log("let_go")
            raise ClaimLost
