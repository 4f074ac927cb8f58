"""Sweeps that requests begin: a requested sweep, and one after an answer when cron has not come."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...core import limits
from ...store.seen import Seen
from ...store.tasks import TaskStore
from .. import clock
from ..deliveries import WaitUntil
from ..heartbeats import TriggerHeartbeats
from ..log import Log
from ..rescue import hold
from .sweep import Sweep, SweepCounts


class TooSoon(NamedTuple):
    """Another sweep was requested a moment ago."""

    left_ms: int  # the time until the next sweep is allowed


@dataclass(frozen=True, slots=True)
class SweepOnRequest:
    """Begins sweeps in a request's invocation."""

    store: TaskStore
    heartbeats: TriggerHeartbeats
    asked: Callable[[], Sweep]  # Makes a sweep that a request asks for.
    after_answer: Callable[[], Sweep] | None  # Makes a sweep after an answer; None: it could do nothing here.
    wait_until: WaitUntil  # Keeps the invocation alive behind its answer.
    log: Log

    async def ask(self) -> SweepCounts | TooSoon:
        """Run a sweep, and return what it did when its last call has ended. Raises StoreError."""
        left_ms = await self.store.take_turn(Seen.ASKED, limits.ASKED_SWEEP_APART_SECONDS)
        if left_ms:
            return TooSoon(left_ms)
        results: list[SweepCounts | Exception] = []

        async def run() -> None:
            try:
                results.append(await self.asked().run())
            except Exception as error:  # noqa: BLE001 - it is raised below, where the request awaits it
                results.append(error)

        await hold(run(), None, self.wait_until)
        (result,) = results
        if isinstance(result, Exception):
            raise result
        return result

    def look(self) -> None:
        """After the answer, check whether cron has missed its sweep, and run one then.

        An isolate makes this check once a minute.
        """
        if self.after_answer is not None and self.heartbeats.may_check_sweep(clock.now()):
            self.wait_until(self._sweep_if_missed(self.after_answer))

    async def _sweep_if_missed(self, make_sweep: Callable[[], Sweep]) -> None:
        """Take the turn, and sweep if this isolate got it: every isolate notices that the sweep was missed."""
        try:
            sweep = make_sweep()
            if not sweep.can_afford_run() or await self.store.take_turn(Seen.SWEEP, limits.SWEEP_MISSED_SECONDS):
                return
            self.log("sweep_missed")
            await sweep.run()
        except Exception as error:  # noqa: BLE001 - nothing awaits this; the next look comes in a minute
            self.log.failure("sweep_failed", error)
