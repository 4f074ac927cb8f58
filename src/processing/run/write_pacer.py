"""Sets the pace of a run: how soon its calls must start, when it may write, and how it repeats a write that failed."""

import asyncio
from collections.abc import Awaitable, Callable

from ...core import limits
from ...core.calls.pace import WriteBucket, start_seconds
from ...core.errors import StoreFull, StoreUnavailable
from .. import clock
from .context import RunContext


class WritePacer:
    """Limits a run to what the database can process."""

    def __init__(self, context: RunContext) -> None:
        claim = context.claim
        tokens = limits.WRITES_AT_FIRST_IDLE if claim.idle_runs else limits.WRITES_AT_FIRST
        self._bucket = WriteBucket(tokens, clock.now())
        self._bucket.spend(clock.now())  # the claim
        self._latency = context.latency
        self._lease_seconds = context.settings.lease_seconds
        self._laned = context.caller.slack_seconds > 0
        self._log = context.log
        # How long the calls of the latest announcement may take to start. Lanes read it from the database whenever they
        # make a call, so for a run with lanes it never shrinks.
        self.start_seconds = context.start_seconds
        if self._laned:
            self.start_seconds = max(self.start_seconds, claim.start_ms / 1000)
        self.announced_at = context.asked_at  # the earliest time at which those calls were announced

    def next_start_seconds(self) -> float:
        """Choose how long the calls that are announced now may take to start."""
        wanted = start_seconds(self._latency.seconds(clock.now()))
        self.start_seconds = max(self.start_seconds, wanted) if self._laned else wanted
        return self.start_seconds

    def earn(self, calls: int) -> None:
        """Record calls that were made and have ended."""
        self._bucket.earn(calls)

    def ready_at(self, now: float) -> float:
        """Return the time from which the run may write; at most `now` if it may write at once.

        The lease must not run out during this wait: after half of the lease, a write waits no longer.
        """
        return min(self._bucket.ready_at(now), self.announced_at + self._lease_seconds / 2)

    async def with_retries[T](
        self, ask: Callable[[], Awaitable[T]], *, writes: bool = True, when_full: bool = True
    ) -> T:
        """Repeat a call until the database answers, or until a lease from now on is over. Raises StoreUnavailable.

        A call that found the database full is repeated too, unless `when_full` is False: space may become free before
        paid outputs are lost.

        Each write waits for its turn: it is better that paid outputs wait than that they add to the load of the
        database. A read uses up no write: otherwise a run that may write once could not announce the calls for which it
        has read.
        """
        began = clock.now()
        ready_at = self.ready_at(began) if writes else began
        pause = limits.STORE_RESEND_SECONDS
        while True:
            await self._wait_until(ready_at)
            asked_at = clock.now()
            if writes:
                self._bucket.spend(asked_at)
            try:
                answer = await ask()
            except StoreUnavailable as error:
                now = clock.now()
                self._latency.note_failure(now - asked_at, now)
                pause = min(2 * pause, limits.INLINE_WAIT_SECONDS_MOST)
                if writes and isinstance(error, StoreFull):
                    self._bucket.refund()
                ready_at = max(now + pause, self.ready_at(now) if writes else now)
                passing = error.passing or (when_full and isinstance(error, StoreFull))
                if not passing or ready_at >= began + self._lease_seconds:
                    raise
                self._log("store_unavailable", error=error.code, retry_seconds=round(ready_at - now, 3))
            else:
                self._latency.note(clock.now() - asked_at, clock.now())
                return answer

    async def _wait_until(self, at: float) -> None:
        """Wait until the next write is allowed."""
        wait = clock.seconds_until(at)
        if wait > 0:
            await asyncio.sleep(wait)
