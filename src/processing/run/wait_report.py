"""What a run leaves behind for whoever asks why its task stands still: the last error, and what it waits for."""

import math
from typing import NamedTuple

from ...core.task import Failure, LastError, Wait
from ...store.claims import CallKey, Claim


class Bars(NamedTuple):
    """Until when calls may not start, for each of the reasons, in seconds of the run's clock; 0 for none."""

    model_away: float
    rate_limited: float
    database: float
    backoff: float

    @property
    def latest(self) -> float:
        """When a call may start at last."""
        return max(self.model_away, self.rate_limited, self.database, self.backoff)

    @property
    def reason(self) -> str:
        """Name the one that lasts longest."""
        bars = {name: getattr(self, name) for name in ("model_away", "rate_limited", "database", "backoff")}
        return max(bars, key=bars.__getitem__)


class Words:
    """The task's last error, until a call succeeds, and its pace. `granted_at` is when the claim was, on the run's
    steady clock. `pace_ms` is the time from one finished call to the next, as of late: without pauses after trouble.
    """

    def __init__(self, claim: Claim, granted_at: float) -> None:
        self.last_error = claim.last_error
        self.pace_ms = claim.pace_ms
        self._calls = 0  # that have succeeded since trouble, or the claim
        self._began_at = granted_at  # the first of them
        self._now_ms = claim.claimed_ms
        self._granted_at = granted_at

    def at_ms(self, at: float) -> int:
        """Return a time of the run's clock on the database's, in ms since the epoch."""
        return self._now_ms + round((at - self._granted_at) * 1000)

    def failed(self, key: CallKey, failure: Failure, started_at: float, now: float) -> None:
        """Take note of a call that failed. A merge has no chunk."""
        before = self.last_error
        calls, since = (1, self.at_ms(started_at)) if before is None else (1 + before.calls, before.since)
        chunk = key.position if key.level == 0 else None
        self.last_error = LastError(failure.code, failure.message, self.at_ms(now), chunk, calls, since)

    def succeeded(self, started_at: float, now: float) -> None:
        """Forget the error: a call has succeeded."""
        if self.last_error is not None or not self._calls:
            self._calls, self._began_at = 0, started_at
        self.last_error = None
        self._calls += 1
        self.pace_ms = max(0, round((now - self._began_at) * 1000 / self._calls))

    def wait(self, bars: Bars, now: float) -> Wait | None:
        """Say what the run waits for; None if a call may start, or one is out that must end first."""
        return Wait(bars.reason, self.at_ms(bars.latest)) if now < bars.latest < math.inf else None
