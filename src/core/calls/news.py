"""What an isolate knows about each model: whether it answers, as the calls of all the isolate's tasks show.

The module `news` is pure: its caller passes the time, from a steady clock.

Failed calls are kept for each tenant and model, so one tenant's failures never make another tenant wait. All tenants
share the knowledge that a model has answered. The objects of this module hold plain numbers, so the requests of an
isolate can share them.
"""

import math
from collections.abc import Iterable

from .. import limits
from .latest_calls import LatestCall, LatestCalls
from .trouble import Trouble


class Answers:
    """When a model last answered a call of any tenant, and when it last answered after BROWN_OUT_SECONDS of silence."""

    def __init__(self) -> None:
        self.at = -math.inf
        self.back_at = -math.inf

    def note(self, at: float) -> None:
        """Record that the model answered a call."""
        if at - self.at > limits.BROWN_OUT_SECONDS:
            self.back_at = at
        self.at = max(self.at, at)


class News:
    """What an isolate knows about one model from one tenant's calls.

    `answers` has the times of answers to all tenants.
    """

    def __init__(self, answers: Answers | None = None) -> None:
        self.trouble = Trouble()
        self.calls = LatestCalls()
        self.answers = answers or Answers()
        self.untold = False  # Whether other isolates cannot yet read the newest calls in the database.

    @property
    def heard_at(self) -> float:
        """The latest time of a success that shows a waiting task that its model is back.

        Such a success is one of the task's own tenant, or any tenant's first success after the model was silent for
        BROWN_OUT_SECONDS.
        """
        return max(self.trouble.success_at, self.answers.back_at)

    def succeeded(self, chunk: int, now: float) -> None:
        """Record a call that succeeded."""
        self.trouble.returned(now)
        self.answers.note(now)
        self._note(LatestCall(chunk, now, True))

    def failed(self, chunk: int, started_at: float, now: float, asked: float, chance: float) -> None:
        """Record a call that failed because of the model service."""
        self.trouble.failed(started_at, now, asked, chance)
        self._note(LatestCall(chunk, now, False))

    def failed_alone(self, chunk: int, now: float) -> None:
        """Record a failed call that counts against its chunk, and so does not show that the model is away."""
        self.trouble.failure_at = now
        self._note(LatestCall(chunk, now, False))

    def malformed(self, chunk: int, now: float) -> None:
        """Record a model's reply without usable output.

        A reply without usable output counts neither as a success nor as trouble of the model service.
        """
        self._note(LatestCall(chunk, now, False))

    def told(self, calls: Iterable[LatestCall], failure_at: float, now: float) -> None:
        """Record what other isolates have written to the database: their latest calls, and when a call last failed."""
        for call in calls:
            self.calls.note(call)
            if call.succeeded:
                self.trouble.heard(min(call.at, now))
                self.answers.note(min(call.at, now))
        self.trouble.failure_at = max(self.trouble.failure_at, min(failure_at, now))

    def is_away(self, now: float) -> bool:
        """Whether the model is away.

        A model is not away if its last failure is older than AWAY_SECONDS_KEPT, or if it is only in a brown-out.
        """
        trouble = self.trouble
        return trouble.away and now - trouble.failure_at <= limits.AWAY_SECONDS_KEPT and not self.is_brown(now)

    def is_brown(self, now: float) -> bool:
        """Whether the tenant had a success within BROWN_OUT_SECONDS, so that its failures mean at most a brown-out."""
        return now - self.trouble.success_at <= limits.BROWN_OUT_SECONDS

    def is_mixed(self, now: float) -> bool:
        """Whether recent calls both failed and succeeded.

        When recent calls both failed and succeeded, isolates exchange them through the database.

        While all calls fail, isolates exchange nothing, because each task sees the failures itself.
        """
        return now - self.trouble.failure_at <= limits.TELL_CALLS_SECONDS and self.is_brown(now)

    def width(self, usual: int, now: float) -> int:
        """Return how many calls a run may have in flight: the more of the latest calls failed, the fewer.

        The width is `usual` times the share of successes among the latest calls of OTHERS_MOST chunks; a chunk without
        a known call counts as a success. Within WIDEN_SECONDS after the last failure, the number of calls that may be
        in flight grows back to `usual`.
        """
        return max(1, math.ceil(usual * min(1.0, self._share(now) + self._healed(now)) - 1e-9))

    def widens_at(self, out: int, usual: int, now: float) -> float:
        """Return when a run that has `out` calls in flight may start one more, if no call fails before.

        Returns infinity if `out` has reached `usual`, because then only the end of a call lets another one start.
        """
        if out >= usual:
            return math.inf
        return self.trouble.failure_at + limits.WIDEN_SECONDS * max(0.0, (out + 0.01) / usual - self._share(now))

    def _share(self, now: float) -> float:
        recent = [call for call in self.calls if now - call.at <= limits.OTHERS_SECONDS][: limits.OTHERS_MOST]
        return 1 - sum(not call.succeeded for call in recent) / limits.OTHERS_MOST

    def _healed(self, now: float) -> float:
        return (now - self.trouble.failure_at) / limits.WIDEN_SECONDS

    def _note(self, call: LatestCall) -> None:
        self.untold = self.calls.note(call) or self.untold


class ModelNews:
    """What an isolate knows about its models, by tenant and model.

    When an isolate knows more than NEWS_MODELS_MOST pairs of tenant and model, the one that was used least recently is
    dropped.
    """

    def __init__(self) -> None:
        self._news: dict[tuple[str, str], News] = {}
        self._answers: dict[str, Answers] = {}

    def of(self, tenant: str, model: str) -> News:
        """Return what the isolate knows about a model from a tenant's calls, in one object for all their tasks."""
        answers = self._answers.pop(model, None) or Answers()
        self._answers[model] = answers
        news = self._news.pop((tenant, model), None) or News()
        news.answers = answers
        self._news[tenant, model] = news
        for kept in (self._news, self._answers):
            if len(kept) > limits.NEWS_MODELS_MOST:
                del kept[next(iter(kept))]  # type: ignore[arg-type]
        return news
