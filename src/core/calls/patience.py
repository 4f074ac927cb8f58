"""How long a task waits for a model that is away, and which task probes it.

This module is pure: the caller reads a steady clock.

A model is away when a task's latest calls have failed for a cause of the service, and none has succeeded since. While
the model is away, one call at a time probes whether it is back. While some of its tenant's other calls succeed, the
model is in a brown-out: pauses stay short, and a run has as many calls out as the share that succeeds allows.
"""

import math
from collections.abc import Iterable

from .. import limits
from .failures import counts
from .latest_calls import LatestCall
from .news import News
from .trouble import Trouble


class Patience:
    """One run's patience with its model: when calls may start, how many, and which failures count against a chunk.

    The patience lasts `seconds`; 0 means none. `news` is the isolate's knowledge of the model. The other arguments say
    what earlier runs of the task saw: the model has been away for `away_for` seconds, `waits` probes in a row failed,
    the last one `failed_for` seconds ago.
    """

    def __init__(
        self,
        news: News,
        seconds: float,
        *,
        now: float,
        away_for: float | None = None,
        waits: int = 0,
        failed_for: float = 0.0,
    ) -> None:
        self._news = news
        self._seconds = seconds
        if away_for is None or not seconds:
            self._own = Trouble()
        else:  # The database's clock measured these times, so the isolate's knowledge must be later beyond doubt.
            self._own = Trouble(now - away_for, waits, now - max(0.0, failed_for - limits.AWAY_CLOCK_SECONDS))

    @property
    def lasts(self) -> bool:
        """Whether the task waits at all for a model that is away. Without patience each failure is an attempt."""
        return self._seconds > 0

    @property
    def away_since(self) -> float | None:
        """Since when the model has been away, as far as this task's own calls show."""
        return self._own.since

    @property
    def waits(self) -> int:
        """How many probes in a row have failed."""
        return self._own.waits

    @property
    def there_at(self) -> float:
        """When the model last answered a call of any task and tenant."""
        return self._news.answers.at

    def counts(self, chunk: int, started_at: float, now: float) -> bool:
        """Whether a failure is the chunk's own, as far as this run knows now."""
        return counts(chunk, started_at, self.there_at, self._news.calls, now)

    def succeeded(self, chunk: int, now: float) -> None:
        """Record a success: the model is there for all tasks."""
        self._own.returned(now)
        self._news.succeeded(chunk, now)

    def answered(self, chunk: int | None, now: float) -> None:
        """Record an answer that is no success and no trouble of the service: the model is not away.

        `chunk` is set if the reply had no usable output. A malformed reply does not make other failures their chunks'
        own.
        """
        self._own.answered()
        self._news.trouble.answered()
        if chunk is not None:
            self._news.malformed(chunk, now)

    def failed(self, chunk: int, started_at: float, now: float, asked: float | None, chance: float) -> None:
        """Record a failure for a cause of the service, which may have asked for a pause of `asked` seconds."""
        if self._seconds:
            self._own.failed(started_at, now, asked or 0.0, chance)
            self._news.failed(chunk, started_at, now, asked or 0.0, chance)

    def failed_alone(self, chunk: int, now: float) -> None:
        """Record a failure that is the chunk's own. A failure of this kind says nothing about the model."""
        self._news.failed_alone(chunk, now)

    def told(self, calls: Iterable[LatestCall], failure_at: float, now: float) -> None:
        """Record what other isolates wrote about their calls."""
        self._news.told(calls, failure_at, now)

    def started(self, now: float) -> None:
        """Record that calls start."""
        if self.narrow(now):
            self._news.trouble.probed(now)

    def narrow(self, now: float) -> bool:
        """Whether only one call at a time may start.

        The run is narrow when the model is away for this task, or away for others before this task's own calls show
        anything.
        """
        self._hear()
        return self._own.away or self._new_to_it(now)

    def away(self, now: float) -> bool:
        """Whether the model is away and this is no brown-out: the tenant has had no recent success."""
        return self.narrow(now) and not self._news.is_brown(now)

    def troubled_for(self, now: float) -> float:
        """Return for how many seconds the tenant's calls have failed, as far as the isolate knows."""
        since = self._news.trouble.since
        return 0.0 if since is None else now - since

    def width(self, usual: int, now: float) -> int:
        """Return how many calls may be out. `usual` applies while all succeed."""
        return self._news.width(usual, now) if self._seconds else usual

    def widens_at(self, out: int, usual: int, now: float) -> float:
        """Return when one call more than `out` may start, if no call ends before."""
        return self._news.widens_at(out, usual, now)

    def over(self, now: float) -> bool:
        """Whether the model has been away for longer than the patience lasts."""
        return self._own.since is not None and now >= self._own.since + self._seconds

    def opens_at(self, now: float, latest_start: float | None) -> float:
        """Return when a call may start, at the latest when the patience ends. Returns infinity while a probe is out.

        `latest_start` is when the newest call that is out started, None if no call is out.
        """
        if not self.narrow(now):
            return -math.inf
        own = self._own
        if not own.away:  # Only other tasks failed so far: this task's first probe does not wait for long.
            return math.inf if latest_start is not None else self._others_at(now, limits.AWAY_NEWCOMER_SECONDS)
        if latest_start is not None and latest_start >= own.began_at:
            return math.inf
        assert own.since is not None
        ends_at = own.since + self._seconds
        own_at = max(min(own.open_at, ends_at), own.asked_until)
        if self._news.is_brown(now):
            return max(own.asked_until, min(own_at, own.failure_at + limits.UNCOUNTED_SECONDS_MOST))
        others_at = self._others_at(now, limits.AWAY_TURN_SECONDS)
        return max(own_at, min(others_at, ends_at) if now < ends_at else others_at)

    def _others_at(self, now: float, seconds_most: float) -> float:
        """Return until when other tasks' probes block this one: at most `seconds_most` after the last of them."""
        if not self._news.is_away(now):
            return -math.inf
        trouble = self._news.trouble
        return max(trouble.asked_until, min(trouble.open_at, max(trouble.probed_at, trouble.failure_at) + seconds_most))

    def _hear(self) -> None:
        """Believe other tasks that had a success after this task's last failure.

        This task's own calls have had no success, so its patience keeps running.
        """
        if self._own.away and self._news.heard_at > self._own.failure_at:
            self._own.heard(self._news.heard_at)

    def _new_to_it(self, now: float) -> bool:
        own = self._own
        return self.lasts and own.success_at == -math.inf and own.since is None and self._news.is_away(now)
