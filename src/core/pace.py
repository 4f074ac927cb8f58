"""How fast a worker may go: how soon its calls must start, how often it may write. Pure: the caller reads the clock.

A database that is slow must not be asked more often for being slow. So the start window follows its latency, what did
not start is announced again after a growing pause, and a worker's writes are bounded by its work.
"""

from . import limits


class Latency:
    """How long the database took to carry out the latest writes of an isolate.

    It rises at once, and halves with each faster write. What is older than LATENCY_SECONDS_KEPT counts as forgotten.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def note(self, seconds: float, now: float) -> None:
        """Take in a write that took so long."""
        self._seconds = max(seconds, self.seconds(now) / 2)
        self._at = now

    def note_failure(self, seconds: float, now: float) -> None:
        """Take in a write that failed after so long: one that lasts takes no less, and a quick no is no news."""
        self.note(max(seconds, self.seconds(now)), now)

    def seconds(self, now: float) -> float:
        """Return what a write is expected to take, 0 if nothing is known."""
        return self._seconds if now - self._at <= limits.LATENCY_SECONDS_KEPT else 0.0


def start_seconds(latency: float) -> float:
    """Return within how many seconds of their announcement calls may start, where a write takes `latency` seconds."""
    wanted = limits.START_LATENCIES * latency + limits.START_SECONDS_MORE
    return min(limits.START_SECONDS_MOST, max(limits.START_SECONDS, wanted))


def start_pause_seconds(fruitless: int) -> float:
    """Return how long to wait before the next announcement, after so many in a row of which no call started."""
    assert fruitless >= 1
    return min(limits.START_PAUSE_SECONDS_MOST, limits.START_PAUSE_SECONDS_FIRST * 2.0 ** min(fruitless - 1, 16))


def idle_seconds(idle_runs: int) -> float:
    """Return how long a task is left alone on which a run has started nothing, after so many such runs before it."""
    return min(limits.IDLE_SECONDS_MOST, limits.IDLE_SECONDS_FIRST * 2.0 ** min(idle_runs, 16))


class WriteBucket:
    """Holds a run to WRITES_A_CALL writes for each call that has ended, and WRITES_A_MINUTE more.

    A run starts with `tokens`. Time gives back no more than WRITES_AT_FIRST; what calls have earned stays.
    """

    def __init__(self, tokens: float, now: float) -> None:
        self._tokens = tokens
        self._at = now

    def earn(self, calls: int) -> None:
        """Take note of calls that have ended, well or not: each may be recorded, and its successor announced."""
        self._tokens += limits.WRITES_A_CALL * calls

    def ready_at(self, now: float) -> float:
        """Return from when on a write may go out; `now`, if one may at once."""
        self._refill(now)
        return now + max(0.0, 1 - self._tokens) * 60 / limits.WRITES_A_MINUTE

    def spend(self, now: float) -> None:
        """Take note of a write that goes out. One that could not wait any longer is paid for later."""
        self._refill(now)
        self._tokens -= 1

    def refund(self) -> None:
        """Take note that a full database has refused a write: it did nothing, and pauses between tries are enough."""
        self._tokens += 1

    def _refill(self, now: float) -> None:
        earned = (now - self._at) * limits.WRITES_A_MINUTE / 60
        self._at = now
        if self._tokens < limits.WRITES_AT_FIRST:
            self._tokens = min(float(limits.WRITES_AT_FIRST), self._tokens + earned)
