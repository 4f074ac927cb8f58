"""How fast a worker may go: how soon calls must start, how often it may write, how long a task or a call waits. Pure.

The caller passes the time, and `chance`, a random number from 0 to 1, for jitter.

A slow database must not get more requests because it is slow: calls get more time to start, calls that did not start
are announced again only after a growing pause, and a worker may write only in proportion to the calls that it finished.

A stall is a claim of a task that ended without a finished model call: its worker died by chance, or the task kills
every worker that takes it. In a row of stalls, the first claim makes as many calls at a time as usual, the second one
begins at once with half as many, and each later one makes fewer, after a longer rest. The last claim makes one call at
a time, after a long rest. If its worker dies too, the task counts as the cause. See decision 0018.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from ..domain import limits


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
        """Record that a write failed after `seconds`. A fast failure does not lower the estimate of a write."""
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
    """Return how many seconds a task pauses after a run that started no call, and `idle_runs` such runs before."""
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
        """Take a token for a write. One that cannot wait may take the bucket below zero."""
        self._refill(now)
        self._tokens -= 1

    def refund(self) -> None:
        """Give back the token of a write that a full database refused, or that recorded a part of a file.

        The refused write changed nothing and is tried again after a pause. A part of a file is recorded only once.
        """
        self._tokens += 1

    def _refill(self, now: float) -> None:
        earned = (now - self._at) * limits.WRITES_A_MINUTE / 60
        self._at = now
        if self._tokens < limits.WRITES_AT_FIRST:
            self._tokens = min(float(limits.WRITES_AT_FIRST), self._tokens + earned)


def backoff_seconds(attempts: int, chance: float) -> float:
    """Return the seconds after the `attempts`-th failure: doubled up to a limit, half of them jitter."""
    assert attempts >= 1
    ceiling = min(limits.BACKOFF_SECONDS_MOST, limits.BACKOFF_SECONDS_FIRST * 2.0 ** min(attempts - 1, 16))
    return ceiling * (0.5 + 0.5 * chance)


def away_seconds(waits: int, chance: float) -> float:
    """Return the seconds before the next probe after `waits` failed ones: doubled each time, with jitter."""
    assert waits >= 1
    ceiling = min(limits.AWAY_SECONDS_MOST, limits.AWAY_SECONDS_FIRST * 2.0 ** min(waits - 1, 16))
    return ceiling * (0.5 + 0.5 * chance)


def rate_limit_seconds(asked: float | None, waits: int, chance: float) -> float:
    """Return how many seconds to wait after a 429 that follows `waits` such waits in a row.

    The provider's own wait, `asked`, is obeyed to a tenth of a second, up to RATE_LIMIT_SECONDS_MOST (an hour), above a
    floor. The floor starts at RATE_LIMIT_SECONDS_LEAST and doubles with each wait up to five minutes, plus up to half
    of it as jitter. If `asked` is None, the wait starts at RATE_LIMIT_SECONDS_FIRST and doubles, half of it jitter.
    """
    ceiling = limits.RATE_LIMIT_SECONDS_MOST / 12
    doubling = 2.0 ** min(waits, 16)
    if asked is None:
        return min(ceiling, limits.RATE_LIMIT_SECONDS_FIRST * doubling) * (0.5 + 0.5 * chance)
    floor = min(ceiling, limits.RATE_LIMIT_SECONDS_LEAST * doubling) * (1 + 0.5 * chance)
    return min(limits.RATE_LIMIT_SECONDS_MOST, max(asked + 0.1 * chance, floor))


_NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?")


def retry_after_seconds(headers: Mapping[str, str], most: float = limits.RATE_LIMIT_SECONDS_MOST) -> float | None:
    """Read how long the provider asks to wait, from 0 to `most`, or None if it asks for nothing.

    `retry-after-ms` is OpenAI's own header. A date in `Retry-After` is compared with the reply's own `Date` header, so
    our own clock does not matter (RFC 9110, 10.2.3 and 6.6.1).
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if _NUMBER.fullmatch(text):
            return _clamped(float(text) * unit, most)
    until, now = _date(headers.get("retry-after")), _date(headers.get("date"))
    return None if until is None or now is None else _clamped((until - now).total_seconds(), most)


def _clamped(seconds: float, most: float) -> float:
    return min(max(seconds, 0.0), most)


def _date(text: str | None) -> datetime | None:
    if text is None or len(text) > 64:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


class Rests(NamedTuple):
    """How long a task rests, in ms, after each claim that ended without a finished call.

    `between_ms` has a time for each claim except the last: the next claim starts at least so long after the first claim
    of the row, and at least half that time after the one before. After the last claim, the task rests until `least_ms`
    have passed since the first one.
    """

    between_ms: tuple[int, ...] = ()
    least_ms: int = 0


def rests(max_attempts: int) -> Rests:
    """Return the rests of a row of stalls: 0, then positive, then thrice as long each; of two, the long one."""
    last_ms = limits.STALL_REST_SECONDS * 1000
    waits = [last_ms / 3 ** (max_attempts - 2 - claim) for claim in range(max_attempts - 1)]
    if len(waits) > 1:
        waits[0] = 0  # No rest after the first stall: most workers that die are not killed by their task.
    return Rests(tuple(map(round, waits)), round(limits.STALL_SECONDS_LEAST * 1000))


def width(stalls: int, max_attempts: int, usual: int) -> int:
    """Return how many calls a task may have in flight after `stalls` claims in a row without a finished call."""
    if stalls == 0:
        return usual
    return 1 if stalls >= max_attempts - 1 else max(1, usual >> stalls)
