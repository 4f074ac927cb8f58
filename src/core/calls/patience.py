"""How long a task waits for a model that is away, and which task makes the call that probes it.

The module `patience` is pure: its caller passes the time, from a steady clock.

A model is away for a task when the task's latest calls have failed because of the model service, and no call has
succeeded since. While the model is away, one call at a time probes whether it is back. While some other calls of the
task's tenant succeed, the model is in a brown-out: pauses stay short, and the share of calls that succeed decides how
many calls a run may have in flight.
"""

import math
from collections.abc import Iterable

from .. import limits
from .failures import counts
from .latest_calls import LatestCall
from .news import News
from .trouble import Trouble


class Patience:
    """Decides for one run, whose model may be away, when and how many calls may start, and which failures count.

    The run waits up to `seconds` for a model that is away; with 0 it does not wait. `news` is the isolate's knowledge
    of the model. `away_for`, `waits` and `failed_for` say what earlier runs of the task saw: the model has been away
    for `away_for` seconds, `waits` probes in a row failed, and the last probe failed `failed_for` seconds ago.
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
        # `failed_for` is shortened, because the database's clock measured it, and a success may end the model's absence
        # only if it surely came after the failure.
        else:
            self._own = Trouble(now - away_for, waits, now - max(0.0, failed_for - limits.AWAY_CLOCK_SECONDS))

    @property
    def lasts(self) -> bool:
        """Whether the task waits for a model that is away.

        A task that does not wait counts each failure as an attempt.
        """
        return self._seconds > 0

    @property
    def away_since(self) -> float | None:
        """When the task's first call after its last successful call failed; None if no call has failed since."""
        return self._own.since

    @property
    def waits(self) -> int:
        """How many of this task's probes of the model have failed in a row."""
        return self._own.waits

    @property
    def there_at(self) -> float:
        """When the model last answered a call of any task and tenant."""
        return self._news.answers.at

    def counts(self, chunk: int, started_at: float, now: float) -> bool:
        """Whether a failed call counts against its chunk, as far as this run knows now."""
        return counts(chunk, started_at, self.there_at, self._news.calls, now)

    def succeeded(self, chunk: int, now: float) -> None:
        """Record a successful call: the model is not away, for this task and all others."""
        self._own.returned(now)
        self._news.succeeded(chunk, now)

    def answered(self, chunk: int | None, now: float) -> None:
        """Record an answer that is neither a success nor trouble of the model service: the model is not away.

        `chunk` is set if the model's reply had no usable output. A reply without usable output does not prove that
        other failures are their chunks' fault.
        """
        self._own.answered()
        self._news.trouble.answered()
        if chunk is not None:
            self._news.malformed(chunk, now)

    def failed(self, chunk: int, started_at: float, now: float, asked: float | None, chance: float) -> None:
        """Record a call that failed because of the model service, which may have asked for `asked` seconds of pause."""
        if self._seconds:
            self._own.failed(started_at, now, asked or 0.0, chance)
            self._news.failed(chunk, started_at, now, asked or 0.0, chance)

    def failed_alone(self, chunk: int, now: float) -> None:
        """Record a failed call that counts against its chunk, and so does not show that the model is away."""
        self._news.failed_alone(chunk, now)

    def told(self, calls: Iterable[LatestCall], failure_at: float, now: float) -> None:
        """Record what other isolates wrote to the database about their latest calls of the model."""
        self._news.told(calls, failure_at, now)

    def started(self, now: float) -> None:
        """Record that calls start."""
        if self.narrow(now):
            self._news.trouble.probed(now)

    def narrow(self, now: float) -> bool:
        """Whether this run may have only one call at a time in flight, as a probe of a model that is away.

        The run is narrow when this task's own calls show that the model is away, or when they show nothing yet and the
        calls of other tasks do.
        """
        self._hear()
        return self._own.away or self._new_to_it(now)

    def away(self, now: float) -> bool:
        """Whether the model is away, and not just in a brown-out: the tenant has had no recent success."""
        return self.narrow(now) and not self._news.is_brown(now)

    def troubled_for(self, now: float) -> float:
        """Return for how many seconds the tenant's calls of the model have failed, as far as the isolate knows."""
        since = self._news.trouble.since
        return 0.0 if since is None else now - since

    def width(self, usual: int, now: float) -> int:
        """Return how many calls the run may have in flight, which is `usual`, or fewer if calls failed lately."""
        return self._news.width(usual, now) if self._seconds else usual

    def widens_at(self, out: int, usual: int, now: float) -> float:
        """Return when a run that has `out` calls in flight may start one more, if no call ends before."""
        return self._news.widens_at(out, usual, now)

    def over(self, now: float) -> bool:
        """Whether the model has been away for longer than the task waits for a model."""
        return self._own.since is not None and now >= self._own.since + self._seconds

    def opens_at(self, now: float, latest_start: float | None) -> float:
        """Return when the run's next call may start, or infinity while a probe of the model is in flight.

        `latest_start` is when the newest call in flight started, None if no call is in flight. A call may start at the
        latest when the task's wait for the model is over, unless the provider asked for a longer pause.
        """
        if not self.narrow(now):
            return -math.inf
        own = self._own
        if not own.away:  # Only other tasks' calls have failed so far, so this task's first probe waits only briefly.
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
        """Return until when other tasks' probes keep this task from probing: at most `seconds_most` after the last
        probe.
        """
        if not self._news.is_away(now):
            return -math.inf
        trouble = self._news.trouble
        return max(trouble.asked_until, min(trouble.open_at, max(trouble.probed_at, trouble.failure_at) + seconds_most))

    def _hear(self) -> None:
        """Treat the model as back if another task had a success after this task's last failure.

        This task's own calls have not succeeded, so the time that it has waited for the model keeps counting.
        """
        if self._own.away and self._news.heard_at > self._own.failure_at:
            self._own.heard(self._news.heard_at)

    def _new_to_it(self, now: float) -> bool:
        own = self._own
        return self.lasts and own.success_at == -math.inf and own.since is None and self._news.is_away(now)
