"""What becomes of calls that have ended: each is booked in the run's ledger, and told to the log."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..core.errors import CallNotStarted, ModelError
from ..core.task import is_truncated
from ..store.claims import CallKey, CallTimes
from . import clock
from .calls import Finished
from .ledger import Ledger
from .log import Log
from .material import Material


class Times(NamedTuple):
    """When a claim was written: by the database, in ms since the epoch, and by the run's clock, when it was asked."""

    claimed_ms: int
    asked_at: float

    def epoch_ms(self, moment: float) -> int:
        """Give a time on the run's clock by the database's, but for what the claim's way there took."""
        return self.claimed_ms + round((moment - self.asked_at) * 1000)


class Bookings:
    """Books calls. `material` keeps the outputs that a merge will want. `chance` gives numbers from 0 to 1."""

    def __init__(self, ledger: Ledger, material: Material, times: Times, chance: Callable[[], float], log: Log) -> None:
        self._ledger = ledger
        self._material = material
        self._times = times
        self._chance = chance
        self._log = log
        self._first: dict[CallKey, float] = {}  # when the first call started for an output that this run has asked for

    def take(self, ended: Sequence[Finished]) -> None:
        """Book calls that have ended."""
        for finished in ended:
            self._book(finished)

    def _book(self, finished: Finished) -> None:
        key, result, started, seconds = finished
        facts = {"level": key.level, "chunk": key.position, "ms": round(seconds * 1000)}
        if isinstance(result, CallNotStarted):
            self._ledger.not_started(key, clock.now())
            self._log("call_not_started", **facts)
            return
        if isinstance(result, ModelError):
            if not self._ledger.was_tried(key):
                self._first[key] = started
            self._ledger.failed(key, result, clock.now(), self._chance())
            self._log("call_failed", **facts, code=result.code, error=str(result))
            return
        epoch_ms, first = self._times.epoch_ms, self._first.pop(key, None)
        times = CallTimes(epoch_ms(started), epoch_ms(started + seconds), None if first is None else epoch_ms(first))
        self._ledger.succeeded(key, result, times, clock.now())
        self._material.keep(key, result.output)
        ending = {"finish_reason": result.finish_reason, "truncated": is_truncated(result.finish_reason) or None}
        tokens = {"input_tokens": result.input_tokens, "output_tokens": result.output_tokens}
        self._log("call_done", **facts, **tokens, **ending)
