"""The pace of a run: how soon its calls must start, when it may write, and how it insists on a write that failed."""

import asyncio
from collections.abc import Awaitable, Callable

from ...core import limits
from ...core.errors import StoreFull, StoreUnavailable
from ...core.pace import Latency, WriteBucket, start_seconds
from ...store.claims import Claim
from .. import clock
from ..log import Log


class Pace:
    """Keeps a run to what the database bears.

    `latency` is the isolate's, and `lease_seconds` what a claim lasts. `window` is the start window in seconds that the
    claim has announced its calls with. Lanes read the window whenever they come to it, so for a run with lanes
    (`laned`) it never shrinks.
    """

    def __init__(
        self, claim: Claim, latency: Latency, *, lease_seconds: float, window: float, laned: bool, log: Log
    ) -> None:
        tokens = limits.WRITES_AT_FIRST_IDLE if claim.idle_runs else limits.WRITES_AT_FIRST
        self._bucket = WriteBucket(tokens, clock.now())
        self._bucket.spend(clock.now())  # the claim
        self._latency = latency
        self._lease_seconds = lease_seconds
        self._laned = laned
        self._log = log
        self.window = max(window, claim.start_ms / 1000) if laned else window
        self.announced_at = clock.now()

    def next_window(self) -> float:
        """Choose the start window of the calls that are announced now, and return it in seconds."""
        wanted = start_seconds(self._latency.seconds(clock.now()))
        self.window = max(self.window, wanted) if self._laned else wanted
        return self.window

    def earn(self, calls: int) -> None:
        """Take note of calls that were made and have ended."""
        self._bucket.earn(calls)

    def ready_at(self, now: float) -> float:
        """Return from when on the run may write; not after `now`, if it may at once.

        The lease is not to run out over it: with half of it gone, a write waits no longer.
        """
        return min(self._bucket.ready_at(now), self.announced_at + self._lease_seconds / 2)

    async def insist[T](self, ask: Callable[[], Awaitable[T]], *, writes: bool = True, when_full: bool = True) -> T:
        """Ask the database until it answers, or until a lease from now on is over. Raises StoreUnavailable.

        A full database is asked again too, unless `when_full` is False: it may have room before what is paid for is
        lost.

        Each write waits for its turn: what is paid for waits rather than add to what keeps the database busy. A read
        takes no write's turn: a run that may write once would have none left to announce what the read was for.
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
        """Wait for a turn to write, if it has not come."""
        wait = clock.seconds_until(at)
        if wait > 0:
            await asyncio.sleep(wait)
