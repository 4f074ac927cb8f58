"""Checks whether a run's claim is still valid, while the run waits for slow calls and does not write.

A write under a claim that is over fails. While a run does not write, it reads the task's row from time to time instead.
When a host learns that its task may have ended, it gives the run a notice, and the run checks its claim at once.
"""

import asyncio
import math

from ..calls import clock
from ..calls.pace import start_seconds
from ..domain import limits
from ..domain.errors import StoreError
from .context import ClaimLost, Hint, RunContext


class CheckSchedule:
    """When a run checks its claim next: first LOOK_SECONDS_FIRST after its last write, and at most `most` times. Pure.

    Each write starts the schedule again, because it also shows whether the claim is valid. The pause between two checks
    doubles, up to LOOK_SECONDS_MOST, or without a limit after no answer. On a slow database every pause is longer.
    """

    def __init__(self, most: int) -> None:
        self._left = most
        self._since = -math.inf
        self._seconds = limits.LOOK_SECONDS_FIRST

    def next_at(self, wrote_at: float, latency: float) -> float:
        """Return when the claim is checked next after a write at `wrote_at`, if a write takes `latency` seconds."""
        if wrote_at > self._since:
            self._since, self._seconds = wrote_at, limits.LOOK_SECONDS_FIRST
        space = max(self._seconds, limits.LOOK_LATENCIES * latency)
        return self._since + space if self._left > 0 else math.inf

    def checked(self, now: float, *, answered: bool) -> None:
        """Note that a check of the claim has ended, and whether the database answered."""
        self._left -= 1
        self._since = now
        self._seconds *= 2
        if answered:
            self._seconds = min(self._seconds, limits.LOOK_SECONDS_MOST)


class ClaimChecks:
    """Makes the checks whether one run's claim is still valid."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._schedule = CheckSchedule(limits.LOOKS_MOST[context.settings.plan])
        self.hint = context.hint or Hint()
        self._said_spent = False

    def next_at(self, wrote_at: float, groups_out: int) -> float:
        """Return when the run checks its claim next; infinity while no call is in flight, or if no check is allowed.

        In the second case, which is logged once, the run notices the task's end only when its next call has ended.
        """
        if groups_out == 0:
            return math.inf
        due_at = math.inf
        if self._context.allowance.allows_read(groups_out):
            due_at = self._schedule.next_at(wrote_at, self._context.invocation.isolate.latency.seconds(clock.now()))
        if due_at == math.inf and not self._said_spent:
            self._said_spent = True
            self._context.log("looks_spent", groups=groups_out)
        return due_at

    async def check(self, wrote_at: float, groups_out: int) -> None:
        """Check the run's claim if a check is due or a notice came. Raises ClaimLost if the claim is over.

        After a notice that the task has ended under this claim, the row is not read: with six calls in flight no
        connection is free. Without an answer in time the run continues, because its calls in flight are paid for.
        """
        log = self._context.log
        given = self.hint.take()
        if given is not None and given >= self._context.claim.fence:
            log("let_go", told=True)
            raise ClaimLost
        hinted = given is not None and self._context.allowance.allows_read(groups_out)
        if not hinted and clock.now() < self.next_at(wrote_at, groups_out):
            return
        seconds = start_seconds(self._context.invocation.isolate.latency.seconds(clock.now()))
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
