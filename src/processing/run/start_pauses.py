"""Pauses of all starts of a run: the provider asks for one, or the database was too slow for calls to start in time."""

from ...core import limits
from ...core.errors import ModelError
from ...core.pace import start_pause_seconds
from ...core.retry import rate_limit_seconds


class Pauses:
    """Until when nothing starts, on the run's clock, for the provider's sake and for the database's.

    `rate_waits` are waits for a rate limit in a row, those of earlier runs included.
    """

    def __init__(self, rate_waits: int) -> None:
        self.provider_until = 0.0
        self.database_until = 0.0
        self.rate_waits = rate_waits

    def asked(self, error: ModelError, now: float) -> None:
        """Obey a provider that asks for a pause, whatever the status of its answer."""
        self.provider_until = max(self.provider_until, now + (error.delay_seconds or 0.0))

    def rate_limited(self, error: ModelError, now: float, chance: float) -> bool:
        """Pause after a 429; True when the provider has been asking for too long."""
        if now >= self.provider_until:  # several refusals of one burst are one wait
            self.rate_waits += 1
        wait = rate_limit_seconds(error.delay_seconds, self.rate_waits - 1, chance)
        self.provider_until = max(self.provider_until, now + wait)
        return self.rate_waits > limits.RATE_LIMIT_WAITS_MOST

    def unstarted(self, fruitless: int, now: float) -> None:
        """Pause after announcements of which nothing started, so many in a row."""
        if fruitless:
            self.rest(now + start_pause_seconds(fruitless))

    def rest(self, until: float) -> None:
        """Pause for the database's sake."""
        self.database_until = max(self.database_until, until)
