"""What a run leaves behind for whoever asks why its task stands still: the last error, and what it waits for."""

import math
from dataclasses import dataclass

from ..core.task import Failure, LastError, Wait
from ..store.claims import CallKey, Claim


@dataclass(frozen=True, slots=True)
class Bars:
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
    """The task's last error, until a call succeeds. `granted_at` is when the claim was, on the run's steady clock."""

    def __init__(self, claim: Claim, granted_at: float) -> None:
        self.last_error = claim.last_error
        self._now_ms = claim.claimed_ms
        self._granted_at = granted_at

    def at_ms(self, at: float) -> int:
        """Return a time of the run's clock on the database's, in ms since the epoch."""
        return self._now_ms + round((at - self._granted_at) * 1000)

    def failed(self, key: CallKey, failure: Failure, now: float) -> None:
        """Take note of a call that failed. A merge has no chunk."""
        calls = 1 + (self.last_error.calls if self.last_error is not None else 0)
        chunk = key.position if key.level == 0 else None
        self.last_error = LastError(failure.code, failure.message, self.at_ms(now), chunk, calls)

    def succeeded(self) -> None:
        """Forget the error: a call has succeeded."""
        self.last_error = None

    def wait(self, bars: Bars, now: float) -> Wait | None:
        """Say what the run waits for; None if a call may start, or one is out that must end first."""
        return Wait(bars.reason, self.at_ms(bars.latest)) if now < bars.latest < math.inf else None
