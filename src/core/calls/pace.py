"""How fast a worker may go: how soon its model calls must start, and how often it may write to the database.

The functions of this module are pure: their caller passes the time.

A slow database must not get more requests because it is slow. Three rules keep the load of a slow database low: calls
get more time to start, calls that did not start are announced again only after a growing pause, and a worker may write
only in proportion to the calls that it finished.
"""

from .. import limits


class Latency:
    """Estimates how long the database takes for a write, from the latest writes of an isolate.

    A slower write raises the estimate to its own time at once, and a faster write at most halves the estimate. The
    estimate is forgotten LATENCY_SECONDS_KEPT after the last write to the database.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def note(self, seconds: float, now: float) -> None:
        """Record that a write to the database took `seconds`."""
        self._seconds = max(seconds, self.seconds(now) / 2)
        self._at = now

    def note_failure(self, seconds: float, now: float) -> None:
        """Record that a write to the database failed after `seconds`.

        A fast failure does not lower the estimate of how long a write takes.
        """
        self.note(max(seconds, self.seconds(now)), now)

    def seconds(self, now: float) -> float:
        """Return how many seconds a write to the database is expected to take, 0 if that is unknown."""
        return self._seconds if now - self._at <= limits.LATENCY_SECONDS_KEPT else 0.0


def start_seconds(latency: float) -> float:
    """Return within how many seconds after their announcement calls must start, if a database write takes `latency`."""
    wanted = limits.START_LATENCIES * latency + limits.START_SECONDS_MORE
    return min(limits.START_SECONDS_MOST, max(limits.START_SECONDS, wanted))


def start_pause_seconds(fruitless: int) -> float:
    """Return the seconds until calls are announced again, after `fruitless` announcements in a row started no call."""
    assert fruitless >= 1
    return min(limits.START_PAUSE_SECONDS_MOST, limits.START_PAUSE_SECONDS_FIRST * 2.0 ** min(fruitless - 1, 16))


def idle_seconds(idle_runs: int) -> float:
    """Return how many seconds a task rests after a run that started no call.

    `idle_runs` is how many runs in a row before this one started no call.
    """
    return min(limits.IDLE_SECONDS_MOST, limits.IDLE_SECONDS_FIRST * 2.0 ** min(idle_runs, 16))


class WriteBucket:
    """Limits a run's database writes to WRITES_A_CALL for each ended call, plus WRITES_A_MINUTE.

    A run starts with `tokens` tokens in the bucket, and each write to the database costs one token. The bucket is
    refilled by WRITES_A_MINUTE tokens a minute, up to WRITES_AT_FIRST. Tokens that ended calls have earned may exceed
    WRITES_AT_FIRST.
    """

    def __init__(self, tokens: float, now: float) -> None:
        self._tokens = tokens
        self._at = now

    def earn(self, calls: int) -> None:
        """Add tokens for ended calls, successful or not, to pay for recording a call and announcing the next one."""
        self._tokens += limits.WRITES_A_CALL * calls

    def ready_at(self, now: float) -> float:
        """Return the time from which the run may send its next write, `now` if it may send it at once."""
        self._refill(now)
        return now + max(0.0, 1 - self._tokens) * 60 / limits.WRITES_A_MINUTE

    def spend(self, now: float) -> None:
        """Take a token for a write that is about to be sent.

        A write that cannot wait may take the bucket below zero.
        """
        self._refill(now)
        self._tokens -= 1

    def refund(self) -> None:
        """Give back the token of a write that a full database refused, or that recorded a part of a file.

        A write that a full database refused changed nothing, and the pauses between the tries already limit the load.
        Writes about a file need no other limit: each slice and each object of the file is recorded once.
        """
        self._tokens += 1

    def _refill(self, now: float) -> None:
        earned = (now - self._at) * limits.WRITES_A_MINUTE / 60
        self._at = now
        if self._tokens < limits.WRITES_AT_FIRST:
            self._tokens = min(float(limits.WRITES_AT_FIRST), self._tokens + earned)
