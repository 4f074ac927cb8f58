"""Chooses the calls that may start: by allowance, the task's terms, the caller, and the model's state."""

import math

from ..domain import limits
from ..domain.task import Route
from ..store.claims import CallKey
from .call_groups import CallGroups
from .context import RunContext
from .ledger import Ledger
from .waits import longest


class CallScheduler:
    """Decides how many calls of a run may start, and what the run does while no call may start."""

    def __init__(self, context: RunContext, calls: CallGroups, ledger: Ledger) -> None:
        self._terms = context.terms
        self._allowance = context.allowance
        self._caller = context.caller
        self._calls = calls
        self._ledger = ledger
        self._concurrency = context.settings.concurrency
        self._route = context.route
        self._is_first = context.claim.fence == 1  # a new task probes as soon as its turn comes
        slots = context.settings.objects_at_work_most is not None
        self._has_slot = slots and context.route is Route.DURABLE_OBJECT

    def starting(self, now: float) -> list[CallKey]:
        """Return the run's calls that may start now, in their order."""
        if self._terms.forbids_start(now):
            return []
        affordable = self.affordable(now, self._calls.free)
        narrowed = self._ledger.narrowed(self._concurrency)
        spread = self._ledger.patience.width(self._usual, now) - self._ledger.in_flight
        wanted = min(self._terms.calls_left(self._ledger.sent), narrowed, spread)
        if affordable <= 0 or self._is_torn(affordable, wanted):
            return []
        return self._ledger.startable(now, int(min(affordable, wanted))) if wanted > 0 else []

    def affordable(self, now: float, wanted: int) -> int:
        """Return for how many of the wanted calls the invocation's allowance suffices."""
        return self._allowance.affordable_calls(now, wanted, self._calls.groups_out, self._caller.group_size)

    def widens_at(self, now: float) -> float:
        """Return when a call may start that waits because few calls succeeded lately; infinity without such a call."""
        patience, out = self._ledger.patience, self._ledger.in_flight
        if not (self._calls.free and self._ledger.ready) or self._terms.forbids_start(now) or patience.narrow(now):
            return math.inf
        return math.inf if patience.width(self._usual, now) > out else patience.widens_at(out, self._usual, now)

    def sits_out(self, wait: float, now: float) -> bool:
        """Whether the run may wait so long; not without lanes, which only the next run has anew."""
        if wait <= 0 or not self._calls.free or not self._allowance.allows_wait(wait, now):
            return False
        reason = longest(self._ledger.pauses(now))
        if self._has_slot:  # other tasks may wait for it
            return reason == "database" or wait <= limits.SLOT_KEPT_SECONDS
        if self._route is not Route.QUEUE or reason not in {"backoff", "model_away"}:
            return True
        away = self._ledger.patience.away(now)
        return wait <= (limits.QUEUE_AWAY_WAIT_SECONDS_MOST if away else limits.UNCOUNTED_SECONDS_MOST)

    def returns_in(self, wait: float, now: float) -> float:
        """Return for how many seconds the task is released if its next call must wait for `wait` seconds.

        If the model is away and a run that others wait for, except a task's first, has made no call, the delay grows
        with the length of the outage, because each release costs a message or an alarm, and a claim. On the direct
        route cron continues the task once a minute: after a failure it comes INLINE_WAIT_SECONDS_MOST too soon rather
        than too late, and the next run waits for the rest.
        """
        is_costly = (self._route is Route.QUEUE or self._has_slot) and not self._is_first
        if is_costly and not self._ledger.ended and self._ledger.patience.away(now):
            wait = max(wait, min(limits.QUEUE_PROBE_WAIT_SECONDS_MOST, self._ledger.patience.failing_for(now)))
        most = limits.INLINE_WAIT_SECONDS_MOST
        early = self._route is Route.DIRECT and wait > most and longest(self._ledger.pauses(now)) == "backoff"
        return wait - most if early else wait

    @property
    def in_parts(self) -> bool:
        """Whether a lane may answer before all calls of its group have ended, so that others take their places."""
        return self._caller.slack_seconds > 0 and self._allowance.allows_parts(self._caller.groups_most)

    @property
    def _usual(self) -> int:
        """Return how many calls may be in flight while all calls succeed."""
        return self._caller.groups_most * self._caller.group_size

    def _is_torn(self, affordable: int, wanted: float) -> bool:
        """Whether only a part of a wave is affordable: as slow as all of it, so the next run makes it."""
        wave = min(self._calls.free, self._ledger.ready, wanted)
        return (
            affordable < wave and self._ledger.ended > 0 and not (self._ledger.in_flight or self._route is Route.DIRECT)
        )
