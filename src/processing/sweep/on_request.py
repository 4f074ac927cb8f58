"""Sweeps that requests begin: one that is asked for, and one after an answer when cron has not come."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ...core import limits
from ...store.seen import Seen
from ...store.tasks import TaskStore
from .. import clock
from ..heartbeats import TriggerHeartbeats
from ..log import Log
from ..rescue import WaitUntil, hold
from .sweep import Sweep, Swept


class TooSoon(NamedTuple):
    """Another sweep was asked for a moment ago; the next one may be in `left_ms`."""

    left_ms: int


@dataclass(frozen=True, slots=True)
class SweepOnRequest:
    """Begins sweeps in a request's invocation. `asked` and `after_answer` make the two kinds; None: it has no use."""

    store: TaskStore
    heartbeats: TriggerHeartbeats
    asked: Callable[[], Sweep]
    after_answer: Callable[[], Sweep] | None
    wait_until: WaitUntil
    log: Log

    async def ask(self) -> Swept | TooSoon:
        """Run a sweep, and return what it did when its last call has ended. Raises StoreError."""
        left_ms = await self.store.take_turn(Seen.ASKED, limits.ASKED_SWEEP_APART_SECONDS)
        if left_ms:
            return TooSoon(left_ms)
        swept: list[Swept | Exception] = []

        async def run() -> None:
            try:
                swept.append(await self.asked().run())
            except Exception as error:  # noqa: BLE001 - it is raised below, where somebody hears of it
                swept.append(error)

        await hold(run(), None, self.wait_until)
        (result,) = swept
        if isinstance(result, Exception):
            raise result
        return result

    def look(self) -> None:
        """After the answer, see whether cron has missed its sweep, and run one then. Once a minute in an isolate."""
        if self.after_answer is not None and self.heartbeats.may_check_sweep(clock.now()):
            self.wait_until(self._sweep_if_missed(self.after_answer))

    async def _sweep_if_missed(self, make_sweep: Callable[[], Sweep]) -> None:
        """Of all isolates that find it missed, the one sweeps that takes the turn."""
        try:
            sweep = make_sweep()
            if not sweep.has_room() or await self.store.take_turn(Seen.SWEEP, limits.SWEEP_MISSED_SECONDS):
                return
            self.log("sweep_missed")
            await sweep.run()
        except Exception as error:  # noqa: BLE001 - nobody awaits this; the next look comes in a minute
            self.log.failure("sweep_failed", error)
