"""The reasons why a run's calls do not start, and the reason that the run reports to readers of its task."""

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
    """Until when calls may not start, for each reason, in seconds of the run's clock; 0 for none."""

    model_away: float
    rate_limited: float
    database: float
    backoff: float

    @property
    def latest(self) -> float:
        """The time at which the last pause ends, so that a call may start."""
        return max(self.model_away, self.rate_limited, self.database, self.backoff)

    @property
    def reason(self) -> str:
        """Return the reason that lasts longest."""
        blocks = {name: getattr(self, name) for name in ("model_away", "rate_limited", "database", "backoff")}
        return max(blocks, key=blocks.__getitem__)


class StartPauses:
    """Pauses of all starts of a run: the provider asked for one, or the database was too slow to start calls in time.

    `rate_waits` counts the waits for a rate limit in a row, including those of earlier runs.
    """

    def __init__(self, rate_waits: int) -> None:
        self.provider_until = 0.0  # a time on the run's clock, as `database_until` is
        self.database_until = 0.0
        self.rate_waits = rate_waits

    def asked(self, error: ModelError, now: float) -> None:
        """Pause because a provider asks for it, whatever the status of its answer."""
        self.provider_until = max(self.provider_until, now + (error.delay_seconds or 0.0))

    def rate_limited(self, error: ModelError, now: float, chance: float) -> bool:
        """Pause after a 429; True if the provider has been asking for too long."""
        if now >= self.provider_until:  # several 429s of one burst are one wait
            self.rate_waits += 1
        wait = rate_limit_seconds(error.delay_seconds, self.rate_waits - 1, chance)
        self.provider_until = max(self.provider_until, now + wait)
        return self.rate_waits > limits.RATE_LIMIT_WAITS_MOST

    def unstarted(self, fruitless: int, now: float) -> None:
        """Pause after this many announcements in a row without a started call."""
        if fruitless:
            self.rest(now + start_pause_seconds(fruitless))

    def rest(self, until: float) -> None:
        """Pause for the database's sake."""
        self.database_until = max(self.database_until, until)


class WaitReport:
    """Reports to the readers of a task why it makes no progress: its last error, what it waits for, and its pace.

    The claim was granted at `granted_at` of the run's clock.
    """

    def __init__(self, claim: Claim, granted_at: float) -> None:
        self.last_error = claim.last_error  # The last error; None once a call succeeds.
        # The time from one finished call to the next, as of late: without pauses after trouble.
        self.pace_ms = claim.pace_ms
        self._calls = 0  # Calls that have succeeded since the last trouble, or since the claim.
        self._began_at = granted_at  # The time when the first of these calls started.
        self._database_clock = DatabaseClock(claim.claimed_ms, granted_at)

    def at_ms(self, at: float) -> int:
        """Return a time of the run's clock on the database's, in ms since the epoch."""
        return self._database_clock.ms(at)

    def failed(self, key: CallKey, failure: Failure, started_at: float, now: float) -> None:
        """Record a call that failed. A merge's call has no chunk."""
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

    def wait(self, blocks: StartBlocks, now: float) -> Wait | None:
        """Record what the run waits for; None if a call may start, or if one that is out must end first."""
        return Wait(blocks.reason, self.at_ms(blocks.latest)) if now < blocks.latest < math.inf else None
