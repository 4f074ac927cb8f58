"""Decides how fast a run may go: when it may write, when announced calls must start, how failed writes repeat.

On a nearly full database calls start only after a write has just found space for their outputs.
"""

import asyncio
from collections.abc import Awaitable, Callable

from ..calls import clock
from ..calls.pace import WriteBucket, start_seconds
from ..domain import limits
from ..domain.errors import StoreFull, StoreUnavailable
from .context import RunContext
from .ledger import Ledger


class StorageGuard:
    """Prevents calls whose outputs a nearly full database could not store. Else it does nothing."""

    def __init__(self, context: RunContext) -> None:
        self._storage = context.invocation.isolate.storage
        self._most = context.settings.storage_bytes_most
        self._log = context.log

    @property
    def tight(self) -> bool:
        """Whether the database is so full that calls may start only after space for their outputs was found."""
        return self._storage.is_tight(self._most)

    def room_for(self, calls: int) -> int:
        """Return how many bytes must be free, in addition to the write, for the outputs of `calls` calls in flight."""
        return min(calls * limits.ROOM_BYTES_A_CALL, limits.ROOM_BYTES_MOST) if self.tight else 0

    async def announce(self, write: Awaitable[None], ledger: Ledger, room_bytes: int) -> bool:
        """Await an announcement; whether there was space. Else no call starts for STORAGE_PAUSE_SECONDS."""
        try:
            await write
        except StoreFull:
            ledger.given_up()
            ledger.pause(clock.now() + limits.STORAGE_PAUSE_SECONDS)
            self._log("storage_full", bytes=self._storage.size, in_flight=ledger.in_flight)
            return False
        if room_bytes:
            self._storage.found_room()
        return True


class WritePacer:
    """Limits the rate of a run's writes to what the database can handle."""

    def __init__(self, context: RunContext) -> None:
        claim = context.claim
        tokens = limits.WRITES_AT_FIRST_IDLE if claim.idle_runs else limits.WRITES_AT_FIRST
        self._bucket = WriteBucket(tokens, clock.now())
        self._bucket.spend(clock.now())  # the claim counts as the run's first write
        self._latency = context.invocation.isolate.latency
        self._lease_seconds = context.settings.lease_seconds
        self._laned = context.caller.slack_seconds > 0
        self._log = context.log
        # Within how many seconds the calls of the latest announcement must start. A lane reads the time limit for
        # starting from the task's row when it makes a call, so for a run with lanes this limit never shrinks.
        self.start_seconds = context.start_seconds
        if self._laned:
            self.start_seconds = max(self.start_seconds, claim.start_ms / 1000)
        self.announced_at = context.asked_at  # when the write that last announced calls was sent

    def next_start_seconds(self) -> float:
        """Choose within how many seconds the calls must start that are announced next."""
        wanted = start_seconds(self._latency.seconds(clock.now()))
        self.start_seconds = max(self.start_seconds, wanted) if self._laned else wanted
        return self.start_seconds

    def earn(self, calls: int) -> None:
        """Note that model calls have ended, which allows the run further writes."""
        self._bucket.earn(calls)

    def refund(self) -> None:
        """Allow a write more: one recorded a part of a file, which else waits half a minute, or a cap refused one."""
        self._bucket.refund()

    def ready_at(self, now: float) -> float:
        """Return when the run may write next: at the latest when half of the lease has passed, to renew it in time."""
        return min(self._bucket.ready_at(now), self.renews_by)

    @property
    def renews_by(self) -> float:
        """The latest time at which the run may write again: when half of the lease has passed since the last write."""
        return self.announced_at + self._lease_seconds / 2

    async def with_retries[T](
        self, ask: Callable[[], Awaitable[T]], *, writes: bool = True, at_once: bool = False, when_full: bool = True
    ) -> T:
        """Repeat a read or a write until the database answers, but not for longer than a lease.

        Raises StoreUnavailable. A write that found the database full is also repeated, unless `when_full` is False,
        because space may become free before paid outputs are lost.

        Each write waits until `ready_at`, so that paid outputs do not add to the database's load. A read neither waits
        nor counts: a run with one write left must still announce the calls whose input it has read. A write `at_once`
        counts but does not wait, unless it must be repeated.
        """
        began = clock.now()
        ready_at = self.ready_at(began) if writes and not at_once else began
        pause = limits.STORE_RESEND_SECONDS
        while True:
            if (wait := clock.seconds_until(ready_at)) > 0:
                await asyncio.sleep(wait)
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
