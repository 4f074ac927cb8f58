"""What keeps calls from starting: pauses, of which the longest is shown, and a client's deadline and budget."""

import math
from collections.abc import Mapping

from ..calls.clock import DatabaseClock
from ..calls.pace import rate_limit_seconds
from ..domain import limits
from ..domain.errors import ModelError, seconds_until_reset
from ..domain.task import BUDGET_EXHAUSTED, COST_LIMIT, DEADLINE_EXCEEDED, Failure, LastError, Wait
from ..store.claims import CallKey, Claim


class Pauses:
    """Pauses in which a run starts no call: asked for by the provider, for the database, a used-up quota, or the cost.

    Each has its end, in seconds of the run's clock; 0 if there was none.
    """

    def __init__(self, rate_waits: int) -> None:
        self.provider_until = self.database_until = self.quota_until = self.cost_until = 0.0
        self.rate_waits = rate_waits  # How many waits in a row, of earlier runs too, were for the rate limit.

    def until(self, model_away: float, backoff: float) -> dict[str, float]:
        """Return for each reason until when calls pause, in seconds of the run's clock; 0 if they do not."""
        return {
            "model_away": model_away,
            "rate_limited": self.provider_until,
            "database": self.database_until,
            "backoff": backoff,
            "quota": self.quota_until,
            COST_LIMIT: self.cost_until,
        }

    def asked(self, error: ModelError, now: float) -> None:
        """Pause as long as the provider's answer asks for, whatever the HTTP status of the answer is."""
        self.provider_until = max(self.provider_until, now + (error.delay_seconds or 0.0))

    def rate_limited(self, error: ModelError, now: float, chance: float) -> bool:
        """Pause after an answer 429. Return whether there were too many such pauses in a row."""
        if now >= self.provider_until:  # several answers with the status 429 during one pause count as one wait
            self.rate_waits += 1
        wait = rate_limit_seconds(error.delay_seconds, self.rate_waits - 1, chance)
        self.provider_until = max(self.provider_until, now + wait)
        return self.rate_waits > limits.RATE_LIMIT_WAITS_MOST

    def used_up(self, error: ModelError, now: float, now_ms: int, chance: float) -> None:
        """Pause until an allowance is renewed, at midnight if the error names no time. Tasks go on one by one."""
        left = seconds_until_reset(now_ms) if error.delay_seconds is None else error.delay_seconds
        wait = left + chance * limits.RESET_SPREAD_SECONDS
        self.quota_until = max(self.quota_until, now + wait)

    def pause(self, until: float) -> None:
        """Pause until a given time, because the database is slow or must get space."""
        self.database_until = max(self.database_until, until)


def longest(pauses: Mapping[str, float]) -> str:
    """Return the reason for the pause that ends last."""
    return max(pauses, key=pauses.__getitem__)


class WaitReport:
    """What readers see of a run: last error, wait and pace. `granted_at`: the claim's grant, by the run's clock."""

    def __init__(self, claim: Claim, granted_at: float) -> None:
        self.last_error = claim.last_error  # The last failed call of the run; None after a success.
        # The average ms between finished calls since the last failure, without the pause after it.
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

    def wait(self, pauses: Mapping[str, float], now: float) -> Wait | None:
        """Return what the run waits for; None if a call may start, or if a call in flight must end first."""
        ends_at = max(pauses.values())
        return Wait(longest(pauses), self.at_ms(ends_at)) if now < ends_at < math.inf else None


OVERDUE = Failure(
    DEADLINE_EXCEEDED, "the task was not finished by its deadline; a retry gives it the same time again", True
)


def exhausted(calls: int, last_error: LastError | None = None) -> Failure:
    """Return the failure of a task that needs more model calls than its budget allows."""
    message = f"the task needs more than the {calls} model calls of its maxModelCalls"
    return Failure(BUDGET_EXHAUSTED, message + because(last_error), False)


def because(last_error: LastError | None) -> str:
    """Return what the message of a limit that ends a task adds: the latest failed call, if none succeeded since."""
    return "" if last_error is None else f"; the last call failed with {last_error.code}: {last_error.message}"


class Terms:
    """The deadline and the budget of a task, as one claim of the task sees them.

    Times are seconds of the worker's steady clock, and the database's clock decides whether a deadline has passed. The
    claim says how much time was left when the database wrote it, between the worker's request and the answer. So the
    worker knows the earliest and the latest moment of the deadline: it starts no call after the earliest, and ends the
    task at the latest.
    """

    def __init__(self, claim: Claim, asked_at: float, granted_at: float) -> None:
        left = math.inf if claim.deadline_left_ms is None else claim.deadline_left_ms / 1000
        self._max_calls = claim.options.max_calls
        self._rests_until = granted_at + claim.rest_ms / 1000
        self._deadline_earliest = asked_at + left
        self.deadline_latest = granted_at + left

    def calls_left(self, sent: int) -> float:
        """Return how many more model calls the budget allows after `sent` calls were sent."""
        return math.inf if self._max_calls is None else max(0, self._max_calls - sent)

    def starts_by(self, announcing_at: float, seconds: float) -> float:
        """Return until when calls announced at `announcing_at` may start, if they must start within `seconds`."""
        return min(announcing_at + seconds, self._deadline_earliest)

    def rest_ms(self, now: float) -> int:
        """Return the task's rest in ms after an unexpected error: a dead worker's, and a message's earliness."""
        left = self._rests_until - now
        return round(1000 * (left + limits.EARLY_SECONDS_ALLOWED)) if left > 0 else 0

    def forbids_start(self, now: float) -> bool:
        """Whether the deadline may have passed, so that no call may start."""
        return now >= self._deadline_earliest
