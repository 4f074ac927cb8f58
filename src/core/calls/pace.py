"""How fast a worker may go: how soon its calls must start, how often it may write.

This module is pure: the caller reads the clock.

A slow database must not get more requests because it is slow. So the start window follows its latency, calls that did
not start are announced again after a growing pause, and a worker's work limits its writes.
"""

from .. import limits


class Latency:
    """How long the database took for the latest writes of an isolate.

    The estimate rises at once, and at most halves with each faster write. After LATENCY_SECONDS_KEPT the estimate is
    forgotten.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def note(self, seconds: float, now: float) -> None:
        """Record a write that took `seconds`."""
        self._seconds = max(seconds, self.seconds(now) / 2)
        self._at = now

    def note_failure(self, seconds: float, now: float) -> None:
        """Record a write that failed after `seconds`. A fast failure does not lower the estimate."""
        self.note(max(seconds, self.seconds(now)), now)

    def seconds(self, now: float) -> float:
        """Return how long a write is expected to take, 0 if that is unknown."""
        return self._seconds if now - self._at <= limits.LATENCY_SECONDS_KEPT else 0.0


def start_seconds(latency: float) -> float:
    """Return how soon after their announcement calls must start, in seconds, if a write takes `latency` seconds."""
    wanted = limits.START_LATENCIES * latency + limits.START_SECONDS_MORE
    return min(limits.START_SECONDS_MOST, max(limits.START_SECONDS, wanted))


def start_pause_seconds(fruitless: int) -> float:
    """Return the wait before the next announcement, after `fruitless` in a row without a started call."""
    assert fruitless >= 1
    return min(limits.START_PAUSE_SECONDS_MOST, limits.START_PAUSE_SECONDS_FIRST * 2.0 ** min(fruitless - 1, 16))


def idle_seconds(idle_runs: int) -> float:
    """Return how long a task rests after a run without a started call.

    `idle_runs` is the number of idle runs before that run.
    """
    return min(limits.IDLE_SECONDS_MOST, limits.IDLE_SECONDS_FIRST * 2.0 ** min(idle_runs, 16))


class WriteBucket:
    """Limits a run's writes: WRITES_A_CALL for each ended call, and WRITES_A_MINUTE in addition.

    A run starts with `tokens`. Time refills the bucket up to WRITES_AT_FIRST. Tokens that calls have earned stay.
    """

    def __init__(self, tokens: float, now: float) -> None:
        self._tokens = tokens
        self._at = now

    def earn(self, calls: int) -> None:
        """Add tokens for ended calls, successful or not: each call may be recorded, and its successor announced."""
        self._tokens += limits.WRITES_A_CALL * calls

    def ready_at(self, now: float) -> float:
        """Return the time from which a write may go out, `now` if at once."""
        self._refill(now)
        return now + max(0.0, 1 - self._tokens) * 60 / limits.WRITES_A_MINUTE

    def spend(self, now: float) -> None:
        """Pay for a write that goes out. A write that could not wait takes the bucket below zero."""
        self._refill(now)
        self._tokens -= 1

    def refund(self) -> None:
        """Return the token of a write that a full database refused.

        The refused write wrote nothing, and the pauses between tries limit the load enough.
        """
        self._tokens += 1

    def _refill(self, now: float) -> None:
        earned = (now - self._at) * limits.WRITES_A_MINUTE / 60
        self._at = now
        if self._tokens < limits.WRITES_AT_FIRST:
            self._tokens = min(float(limits.WRITES_AT_FIRST), self._tokens + earned)
