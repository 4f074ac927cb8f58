"""Records since when a model has been away for one task or one tenant, and when the next call may probe it. Pure."""

import math

from .retry import away_seconds


class Trouble:
    """How a model behaved lately, for one task or for the tasks of one tenant in an isolate.

    `since` is the time of the model's first failure since this task's or tenant's own last success. `away` says that
    the latest calls have failed, and that no call of other tasks is known to have succeeded after them; `began_at` is
    when the model became away. `open_at` is when the next call may probe the model, `asked_until` is the time until
    which the provider asked us to wait, and `probed_at` is when a call last probed the model.
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
        """Record that a call of this task or tenant succeeded: the model is not away."""
        self.since = None
        self.heard(at)

    def heard(self, at: float) -> None:
        """Record that a call of another task or tenant succeeded. The model is not away, but this one's failures keep
        counting.
        """
        self.success_at = max(self.success_at, at)
        if at >= self.failure_at:
            self.away, self.waits = False, 0
            self.open_at = self.asked_until = -math.inf

    def answered(self) -> None:
        """Record an answer that is neither a success nor trouble of the model service: the model is not away."""
        self.since, self.away, self.waits = None, False, 0

    def failed(self, started_at: float, now: float, asked: float, chance: float) -> None:
        """Record a failed call. A call that was already in flight when the last pause began causes no further pause."""
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
        """Record a call that probes the model.

        After a call probes the model, no other call may probe it for as long as the longest pause that a failure of the
        probe may cause.
        """
        self.probed_at = now
        self.open_at = max(self.open_at, now + away_seconds(self.waits + 1, 1.0))
