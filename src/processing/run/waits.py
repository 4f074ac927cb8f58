"""Keeps the reasons why a run's calls do not start, and reports the one that lasts longest to a task's readers."""

import math
from typing import NamedTuple

from ...core import limits
from ...core.calls.pace import start_pause_seconds
from ...core.calls.retry import rate_limit_seconds
from ...core.errors import ModelError
from ...core.task import Failure, LastError, Wait
from ...store.records.claims import CallKey, Claim
from ..clock import DatabaseClock


class StartBlocks(NamedTuple):
    """For each reason, until when it keeps calls from starting, in seconds of the run's clock; 0 if it does not."""

    model_away: float
    rate_limited: float
    database: float
    backoff: float

    @property
    def latest(self) -> float:
        """When the pause that ends last is over, so that a call may start."""
        return max(self.model_away, self.rate_limited, self.database, self.backoff)

    @property
    def reason(self) -> str:
        """Return the reason for the pause of the run's calls that ends last."""
        blocks = {name: getattr(self, name) for name in ("model_away", "rate_limited", "database", "backoff")}
        return max(blocks, key=blocks.__getitem__)


class StartPauses:
    """Pauses in which a run starts no call: the provider asked for a pause, or the database is too slow or too full.

    `rate_waits` counts the waits in a row for the provider's rate limit, including waits of earlier runs.
    """

    def __init__(self, rate_waits: int) -> None:
        self.provider_until = 0.0  # the end of the pause, by the run's clock
        self.database_until = 0.0
        self.rate_waits = rate_waits

    def asked(self, error: ModelError, now: float) -> None:
        """Pause as long as the provider's answer asks for, whatever the HTTP status of the answer is."""
        self.provider_until = max(self.provider_until, now + (error.delay_seconds or 0.0))

    def rate_limited(self, error: ModelError, now: float, chance: float) -> bool:
        """Pause after an answer with the status 429.

        Return whether there were too many pauses in a row after answers with the status 429.
        """
        if now >= self.provider_until:  # several answers with the status 429 during one pause count as one wait
            self.rate_waits += 1
        wait = rate_limit_seconds(error.delay_seconds, self.rate_waits - 1, chance)
        self.provider_until = max(self.provider_until, now + wait)
        return self.rate_waits > limits.RATE_LIMIT_WAITS_MOST

    def unstarted(self, fruitless: int, now: float) -> None:
        """Pause after `fruitless` announcements in a row. In each announcement all calls were too late to start."""
        if fruitless:
            self.rest(now + start_pause_seconds(fruitless))

    def rest(self, until: float) -> None:
        """Pause until a given time, because the database is slow or must get space."""
        self.database_until = max(self.database_until, until)


class WaitReport:
    """Collects what the readers of a task see of a run: the last error, what the run waits for, and the pace.

    `granted_at` is when the claim was granted, by the run's clock.
    """

    def __init__(self, claim: Claim, granted_at: float) -> None:
        self.last_error = claim.last_error  # The last failed call of the run; None after a success.
        # The average ms from one finished call to the next since the last failure; the pause after the failure does not
        # count.
        self.pace_ms = claim.pace_ms
        self._calls = 0  # How many calls have succeeded since the last failure, or since the claim.
        self._began_at = granted_at  # When the first of the calls that `_calls` counts started.
        self._database_clock = DatabaseClock(claim.claimed_ms, granted_at)

    def at_ms(self, at: float) -> int:
        """Convert a time from the run's clock into ms since the epoch by the database's clock."""
        return self._database_clock.ms(at)

    def failed(self, key: CallKey, failure: Failure, started_at: float, now: float) -> None:
        """Record a failed call. If the failed call is a merge, no chunk is reported."""
        before = self.last_error
        calls, since = (1, self.at_ms(started_at)) if before is None else (1 + before.calls, before.since)
        chunk = key.position if key.level == 0 else None
        self.last_error = LastError(failure.code, failure.message, self.at_ms(now), chunk, calls, since)

    def succeeded(self, started_at: float, now: float) -> None:
        """Forget the last error, because a call has succeeded, and measure the time between successes."""
        if self.last_error is not None or not self._calls:
            self._calls, self._began_at = 0, started_at
        self.last_error = None
        self._calls += 1
        self.pace_ms = max(0, round((now - self._began_at) * 1000 / self._calls))

    def wait(self, blocks: StartBlocks, now: float) -> Wait | None:
        """Return what the run waits for; None if a call may start, or if a call in flight must end first."""
        return Wait(blocks.reason, self.at_ms(blocks.latest)) if now < blocks.latest < math.inf else None
