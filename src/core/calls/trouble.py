"""A model that is away, as one task or one tenant sees it: since when, and when the next probe may start. Pure."""

import math

from .retry import away_seconds


class Trouble:
    """How a model behaved lately, for one task or for the tasks of one tenant in an isolate.

    `since` is when the first failure came that no success has followed. `away` says that the latest calls have failed,
    and that no other call is known to have succeeded after them; `began_at` is when that began. `open_at` is when the
    next call may probe the model, `asked_until` is how long the provider asked us to wait, and `probed_at` is when a
    call last probed.
    """

    def __init__(self, since: float | None = None, waits: int = 0, failure_at: float = -math.inf) -> None:
        self.success_at = -math.inf
        self.failure_at = failure_at
        self.since = since
        self.away = since is not None
        self.waits = waits
        self.began_at = -math.inf if since is None else since
        self.open_at = -math.inf
        self.asked_until = -math.inf
        self.probed_at = -math.inf
        self._paused_at = self.began_at

    def returned(self, at: float) -> None:
        """Record a success of this task or tenant: the model is there."""
        self.since = None
        self.heard(at)

    def heard(self, at: float) -> None:
        """Record a success of others: the model is there, but this task's own calls have failed so far."""
        self.success_at = max(self.success_at, at)
        if at >= self.failure_at:
            self.away, self.waits = False, 0
            self.open_at = self.asked_until = -math.inf

    def answered(self) -> None:
        """Record an answer that is no success and no trouble of the service: the model is not away."""
        self.since, self.away, self.waits = None, False, 0

    def failed(self, started_at: float, now: float, asked: float, chance: float) -> None:
        """Record a failed call. Calls that were already out when the last pause began cause no further pause."""
        self.failure_at = now
        self.asked_until = max(self.asked_until, now + asked)
        self.since = now if self.since is None else self.since
        if not self.away:
            self.away, self.began_at, self.waits = True, now, 0
        elif started_at < self._paused_at:
            self.open_at = max(self.open_at, self.asked_until)
            return
        self._paused_at = now
        self.waits += 1
        self.open_at = max(self.asked_until, now + away_seconds(self.waits, chance))

    def probed(self, now: float) -> None:
        """Record a call that probes the model. No other call probes for as long as its next pause may last."""
        self.probed_at = now
        self.open_at = max(self.open_at, now + away_seconds(self.waits + 1, 1.0))
