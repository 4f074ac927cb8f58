"""Which calls of a run may start now: what its invocation, its terms, its caller and its model leave room for."""

import math

from ..store.claims import CallKey
from .allowance import Allowance
from .caller import Caller
from .calls import Calls
from .ledger import Ledger
from .terms import Terms


class Openings:
    """The places that a run has for calls. `concurrency` is AI_CONCURRENCY.

    `sweep_soon`: only the sweep brings a released task back.
    """

    def __init__(
        self,
        terms: Terms,
        allowance: Allowance,
        caller: Caller,
        calls: Calls,
        ledger: Ledger,
        *,
        concurrency: int,
        sweep_soon: bool,
    ) -> None:
        self._terms = terms
        self._allowance = allowance
        self._caller = caller
        self._calls = calls
        self._ledger = ledger
        self._concurrency = concurrency
        self._sweep_soon = sweep_soon

    def starting(self, now: float) -> list[CallKey]:
        """Return the calls that may start now, in order."""
        if self._terms.forbids_start(now):
            return []
        room = self._allowance.room(now, self._calls.free, self._calls.groups_out, self._caller.group_size)
        narrowed = self._ledger.narrowed(self._concurrency)
        spread = self._ledger.patience.width(self._usual, now) - self._ledger.in_flight
        wanted = min(self._terms.calls_left(self._ledger.sent), narrowed, spread)
        if room <= 0 or self._is_torn(room, wanted):
            return []
        return self._ledger.startable(now, int(min(room, wanted))) if wanted > 0 else []

    def widens_at(self, now: float) -> float:
        """Return when a call may start that the share of successes keeps back; infinity if it keeps none back."""
        patience, out = self._ledger.patience, self._ledger.in_flight
        if not (self._calls.free and self._ledger.ready) or self._terms.forbids_start(now) or patience.narrow(now):
            return math.inf
        return math.inf if patience.width(self._usual, now) > out else patience.widens_at(out, self._usual, now)

    @property
    def _usual(self) -> int:
        """How many calls may be out while all succeed."""
        return self._caller.groups_most * self._caller.group_size

    def _is_torn(self, room: int, wanted: float) -> bool:
        """Whether there is room for a part of a wave only, which takes as long as a whole one: the next run's first."""
        wave = min(self._calls.free, self._ledger.ready, wanted)
        return room < wave and self._ledger.ended > 0 and not (self._ledger.in_flight or self._sweep_soon)
