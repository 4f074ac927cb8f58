"""Runs sweeps in a request's invocation: a requested sweep, and a sweep after any answer if cron has stopped."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ...calls import clock
from ...domain import limits
from ...run.invocation import WaitUntil
from ...run.log import Log
from ...store.seen import Seen, TriggerHeartbeats
from ...store.tasks import TaskStore
from ..rescue import hold
from .sweep import Sweep, SweepCounts

if TYPE_CHECKING:
    from .resuming import Resuming


class TooSoon(NamedTuple):
    """The answer to a request for a sweep if another sweep was requested a moment ago."""

    left_ms: int  # how many ms a client must wait before it may request a sweep again


@dataclass(frozen=True, slots=True)
class SweepOnRequest:
    """Begins sweeps in a request's invocation."""

    store: TaskStore
    heartbeats: TriggerHeartbeats
    asked: Callable[[], Sweep]  # Makes the sweep that a client requests.
    # Makes a sweep that runs after an answer; None if a sweep could do nothing in this deployment.
    after_answer: Callable[[], Sweep] | None
    resuming: Callable[[], "Resuming"]  # Makes what ends the pauses of waiting tasks.
    wait_until: WaitUntil  # Keeps the invocation alive after its answer.
    log: Log

    async def ask(self) -> SweepCounts | TooSoon:
        """Run a sweep, and after its last model call has ended, return what the sweep did. Raises StoreError."""
        left_ms = await self.store.take_permit(Seen.ASKED, limits.ASKED_SWEEP_APART_SECONDS)
        if left_ms:
            return TooSoon(left_ms)
        return await hold(self.asked().run(), None, self.wait_until) or SweepCounts()

    async def resume(self) -> "tuple[SweepCounts, Resuming] | TooSoon":
        """End waiting tasks' pauses, then sweep; what takes long follows the answer. Raises StoreError."""
        left_ms = await self.store.take_permit(Seen.RESUMED, limits.RESUME_APART_SECONDS)
        if left_ms:
            return TooSoon(left_ms)
        resuming = self.resuming()

        async def run() -> SweepCounts:
            await resuming.run()
            return await self.asked().run()

        return await hold(run(), limits.ASKED_SWEEP_SECONDS, self.wait_until) or SweepCounts(), resuming

    def look(self) -> None:
        """Check after the answer whether cron has missed a sweep, at most once a minute, and then sweep."""
        if self.after_answer is not None and self.heartbeats.may_check_sweep(clock.now()):
            self.wait_until(self._sweep_if_missed(self.after_answer))

    async def _sweep_if_missed(self, make_sweep: Callable[[], Sweep]) -> None:
        """Run a sweep if this isolate gets the permit, as only one of all that notice does."""
        try:
            sweep = make_sweep()
            if not sweep.can_afford_run() or await self.store.take_permit(Seen.SWEEP, limits.SWEEP_MISSED_SECONDS):
                return
            self.log("sweep_missed")
            await sweep.run()
        except Exception as error:  # noqa: BLE001 - nothing awaits this sweep; the next check comes in a minute
            self.log.failure("sweep_failed", error)
