"""How long a model that is away is waited for, and who asks it meanwhile. Pure: the caller reads a steady clock.

A model is away when the latest calls have failed for a cause of the service and none has succeeded since. Then one call
at a time asks whether it is back. What an isolate has learnt of a model is numbers, which all its tasks read: nothing
in here can be awaited.
"""

import math

from . import limits
from .retry import away_seconds


class Trouble:
    """How a model was of late, to one task or to one isolate: its last success, and since when it has been away.

    `open_at` is from when on the next call may ask for it, `asked_until` what the provider itself has asked for, and
    `probed_at` when a call last asked.
    """

    def __init__(self, since: float | None = None, waits: int = 0, failure_at: float = -math.inf) -> None:
        self.success_at = -math.inf
        self.failure_at = failure_at
        self.since = since
        self.waits = waits
        self.open_at = -math.inf
        self.asked_until = -math.inf
        self.probed_at = -math.inf
        self._paused_at = -math.inf if since is None else since

    def returned(self, at: float) -> None:
        """Take in an answer: the model is there."""
        self.success_at = max(self.success_at, at)
        self.since, self.waits = None, 0
        self.open_at = self.asked_until = -math.inf

    def failed(self, started_at: float, now: float, asked: float, chance: float) -> None:
        """Take in a failed call. Those that were out when the last pause began are the same trouble, and one pause."""
        self.failure_at = now
        self.asked_until = max(self.asked_until, now + asked)
        if self.since is None:
            self.since, self.waits = now, 0
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


class ModelNews:
    """What an isolate has learnt of its models, by name; beyond NEWS_MODELS_MOST the oldest goes."""

    def __init__(self) -> None:
        self._models: dict[str, Trouble] = {}

    def of(self, model: str) -> Trouble:
        """Return what is known of a model, to be read and written by all who call it."""
        news = self._models.pop(model, None) or Trouble()
        self._models[model] = news
        if len(self._models) > limits.NEWS_MODELS_MOST:
            del self._models[next(iter(self._models))]
        return news

    def is_away(self, model: str, now: float) -> bool:
        """Whether the model is known to be away."""
        return is_away(self._models.get(model, _NOTHING), now)


_NOTHING = Trouble()


def is_away(news: Trouble, now: float) -> bool:
    """Whether a model is away. What is older than AWAY_SECONDS_KEPT says nothing."""
    return news.since is not None and now - news.failure_at <= limits.AWAY_SECONDS_KEPT


class Patience:
    """One run's patience with its model: when calls may start, and which failures count against a chunk.

    It lasts `seconds`; with 0 there is none, and every failure counts. `news` is the isolate's. `away_for` and `waits`
    are what earlier runs of the task have seen: for how many seconds the model has been away, after so many probes, the
    last of which was `failed_for` seconds ago.
    """

    def __init__(
        self,
        news: Trouble,
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
        else:  # those times are of the database's clock: what the isolate knows must be later beyond doubt
            self._own = Trouble(now - away_for, waits, now - max(0.0, failed_for - limits.AWAY_CLOCK_SECONDS))

    @property
    def away_since(self) -> float | None:
        """Since when the model has been away, as far as this task has seen."""
        return self._own.since

    @property
    def waits(self) -> int:
        """How many probes in a row have failed."""
        return self._own.waits

    @property
    def there_at(self) -> float:
        """When a call of this run, or of another task of the isolate, last succeeded."""
        return max(self._own.success_at, self._news.success_at)

    def counts(self, started_at: float) -> bool:
        """Whether a failure is the chunk's own, since another call succeeded while this one was out."""
        return not self._seconds or self.there_at >= started_at

    def succeeded(self, now: float) -> None:
        """Take in a success: the model is there, for all tasks."""
        self._own.returned(now)
        self._news.returned(now)

    def answered(self) -> None:
        """Take in an answer that was no success, and no trouble of the service: the model is not away.

        It is no success of which other failures would turn out to be their calls' own.
        """
        for trouble in (self._own, self._news):
            trouble.since, trouble.waits = None, 0

    def failed(self, started_at: float, now: float, asked: float | None, chance: float) -> None:
        """Take in a failure for a cause of the service, which may have `asked` for a pause in seconds."""
        if self._seconds:
            self._own.failed(started_at, now, asked or 0.0, chance)
            self._news.failed(started_at, now, asked or 0.0, chance)

    def started(self, now: float) -> None:
        """Take note of calls that start."""
        if self.narrow(now):
            self._news.probed(now)

    def narrow(self, now: float) -> bool:
        """Whether one call at a time may start: the model is away, or is to others and this task has not asked yet."""
        self._hear()
        return self._own.since is not None or self._new_to_it(now)

    def over(self, now: float) -> bool:
        """Whether the model has been away for too long."""
        return self._own.since is not None and now >= self._own.since + self._seconds

    def opens_at(self, now: float, latest_start: float | None) -> float:
        """Return when a call may start, never later than the patience ends; infinity while a probe is out.

        `latest_start` is when the last of the calls that are out started, None if none is.
        """
        if not self.narrow(now):
            return -math.inf
        own = self._own
        if own.since is None:  # somebody else's trouble: this task's first question does not wait for long
            return math.inf if latest_start is not None else self._others_at(now, limits.AWAY_NEWCOMER_SECONDS)
        if latest_start is not None and latest_start >= own.since:
            return math.inf
        ends_at = own.since + self._seconds
        own_at = max(min(own.open_at, ends_at), own.asked_until)
        others_at = self._others_at(now, limits.AWAY_TURN_SECONDS)
        return max(own_at, min(others_at, ends_at) if now < ends_at else others_at)

    def _others_at(self, now: float, seconds_most: float) -> float:
        """Return until when other tasks' questions stand in the way: for so long after the last of them at most."""
        news = self._news
        if not is_away(news, now):
            return -math.inf
        return max(news.asked_until, min(news.open_at, max(news.probed_at, news.failure_at) + seconds_most))

    def _hear(self) -> None:
        """Believe the isolate when it has had a success since this task's last failure."""
        if self._own.since is not None and self._news.success_at > self._own.failure_at:
            self._own.returned(self._news.success_at)

    def _new_to_it(self, now: float) -> bool:
        return bool(self._seconds) and self._own.success_at == -math.inf and is_away(self._news, now)
