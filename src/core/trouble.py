"""A model that is away, as one task or one tenant sees it: since when, and when the next call may ask for it. Pure."""

import math

from .retry import away_seconds


class Trouble:
    """How a model was of late, to one task or to the tasks of one tenant in an isolate.

    `since` is when the first of the calls failed of which none has succeeded since. `away`: the latest have failed, and
    nobody else has been heard to succeed after them. It is so since `began_at`. `open_at` is from when on the next call
    may ask for the model, `asked_until` what the provider itself has asked for, and `probed_at` when a call last asked.
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
        """Take in an answer: the model is there."""
        self.since = None
        self.heard(at)

    def heard(self, at: float) -> None:
        """Take in that somebody else had an answer: the model is there, but this one's own calls have failed so far."""
        self.success_at = max(self.success_at, at)
        if at >= self.failure_at:
            self.away, self.waits = False, 0
            self.open_at = self.asked_until = -math.inf

    def answered(self) -> None:
        """Take in an answer that was no success, and no trouble of the service: the model is not away."""
        self.since, self.away, self.waits = None, False, 0

    def failed(self, started_at: float, now: float, asked: float, chance: float) -> None:
        """Take in a failed call. Those that were out when the last pause began are the same trouble, and one pause."""
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
        """Take note of a call that asks for the model: no other one does for as long as its next pause may be."""
        self.probed_at = now
        self.open_at = max(self.open_at, now + away_seconds(self.waits + 1, 1.0))
