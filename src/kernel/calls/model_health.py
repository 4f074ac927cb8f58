"""What an isolate knows of each model from the calls of its tasks, and how a task waits for a model that is away. Pure.

The caller passes the time, from a steady clock. A model is away for a task when the task's latest calls have failed
because of the model service, and no call has succeeded since. While the model is away, one call at a time probes
whether it is back. While some other calls of the task's tenant succeed, the model is in a brown-out: pauses stay short,
and the share of calls that succeed decides how many calls a run may have in flight.

The model service counts as in trouble when the calls for other chunks fail too. A chunk counts as at fault when its
call fails while the same model answers the tenant's other chunks. A failed call counts against its chunk only if the
chunk is at fault. See decision 0042.
"""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..domain import limits
from .pace import away_seconds, backoff_seconds


class LatestCall(NamedTuple):
    """How the latest call for a chunk ended. `chunk` is a number that identifies the chunk and reveals nothing else."""

    chunk: int
    at: float
    succeeded: bool


class LatestCalls:
    """The latest call of each chunk, one chunk more than `others` returns, as none is judged by its own."""

    def __init__(self) -> None:
        self._calls: dict[int, LatestCall] = {}

    def __iter__(self) -> Iterator[LatestCall]:
        """The latest call is the first in the list."""
        return iter(sorted(self._calls.values(), key=lambda call: -call.at))

    def note(self, call: LatestCall) -> bool:
        """Record a call. False: dropped, as the chunk has one as new, or enough other chunks have newer ones."""
        known = self._calls.get(call.chunk)
        if known is not None and known.at >= call.at:
            return False
        self._calls[call.chunk] = call
        if len(self._calls) > limits.LATEST_CALLS_KEPT:
            oldest = min(self._calls.values(), key=lambda kept: kept.at)
            del self._calls[oldest.chunk]
            return oldest is not call
        return True


def others(chunk: int, calls: Iterable[LatestCall], now: float) -> list[LatestCall]:
    """Return the latest calls of up to ten chunks other than `chunk`, newest first, none older than 15 minutes."""
    found = [call for call in calls if call.chunk != chunk and now - call.at <= limits.OTHERS_SECONDS]
    return sorted(found, key=lambda call: -call.at)[: limits.OTHERS_MOST]


class Absence:
    """How a model behaved lately, for one task or for the tasks of one tenant in an isolate."""

    def __init__(self, since: float | None = None, waits: int = 0, failure_at: float = -math.inf) -> None:
        self.success_at = -math.inf
        self.failure_at = failure_at
        self.since = since  # When the first call failed since this task's or tenant's own last success.
        self.away = since is not None  # The latest calls have failed, and no later success of others is known.
        self.waits = waits
        self.began_at = -math.inf if since is None else since  # When the model became away.
        self.open_at = -math.inf  # When the next call may probe the model.
        self.asked_until = -math.inf  # Until when the provider asked us to wait.
        self.probed_at = -math.inf
        self._paused_at = self.began_at

    def returned(self, at: float) -> None:
        """Record that a call of this task or tenant succeeded: the model is not away."""
        self.since = None
        self.another_succeeded(at)

    def another_succeeded(self, at: float) -> None:
        """Record a success of another task or tenant. The model is not away, but failures here keep counting."""
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
        """Record a probe. No other call may probe for as long as the longest pause that its failure may cause."""
        self.probed_at = now
        self.open_at = max(self.open_at, now + away_seconds(self.waits + 1, 1.0))


class Verdict(NamedTuple):
    """What a failed model call means for its chunk.

    `attempts` and `counted` are the chunk's totals of attempts and of counted failures, the judged call included.
    """

    attempts: int
    counted: int
    final: bool  # Whether the chunk gets no further call.
    wait: float  # How many seconds the chunk's next call waits, or longer if the model is away.


def counts(chunk: int, started_at: float, success_at: float, calls: Iterable[LatestCall], now: float) -> bool:
    """Whether a failure counts against its chunk: the model answers others, as `success_at` and `calls` say."""
    if success_at <= started_at:
        return False
    found = others(chunk, calls, now)
    succeeded = sum(call.succeeded for call in found)
    return len(found) >= limits.OTHERS_LEAST and succeeded >= limits.OTHERS_SHARE * len(found)


def judge(
    *,
    of_service: bool,
    patient: bool,
    own: bool,
    attempts: int,
    counted: int,
    calls: int,
    attempts_most: int,
    chance: float,
) -> Verdict:
    """Decide what a failed model call means for its chunk, if the call may be made again.

    `of_service` says that the error looks like the model service's fault. `patient` says that MODEL_PATIENCE_SECONDS is
    not 0. `own` is the result of `counts`: whether the failure counts against the chunk. `attempts` and `counted` are
    the chunk's totals before the failed call, and `calls` is how many calls the chunk has had, the failed one included.
    """
    assert calls >= 1
    if not (of_service and patient):
        attempts += 1
        return Verdict(attempts, counted, attempts >= attempts_most, backoff_seconds(attempts, chance))
    if not own:
        wait = min(limits.UNCOUNTED_SECONDS_MOST, backoff_seconds(calls, chance))
        return Verdict(attempts, counted, False, wait)
    counted += 1
    final = counted >= limits.FAILURES_COUNTED_MOST
    return Verdict(attempts, counted, final, 0.0 if final else pause_seconds(counted, chance))


def pause_seconds(counted: int, chance: float) -> float:
    """Return how many seconds a chunk waits after `counted` counted failures; up to a sixth of the wait is jitter."""
    pauses = limits.COUNTED_PAUSES_SECONDS
    return pauses[min(counted, len(pauses)) - 1] * (5 + chance) / 6


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


class ModelHealth:
    """What an isolate knows about one model from one tenant's calls. `answers` has those of all tenants."""

    def __init__(self) -> None:
        self.absence = Absence()
        self.calls = LatestCalls()
        self.answers = Answers()
        self.unshared = False  # Whether other isolates cannot yet read the newest calls in the database.

    @property
    def returned_at(self) -> float:
        """The latest success that shows a waiting task that its model is back: the tenant's, or after silence."""
        return max(self.absence.success_at, self.answers.back_at)

    def succeeded(self, chunk: int, now: float) -> None:
        """Record a call that succeeded."""
        self.absence.returned(now)
        self.answers.note(now)
        self.note(LatestCall(chunk, now, True))

    def failed(self, chunk: int, started_at: float, now: float, asked: float, chance: float) -> None:
        """Record a call that failed because of the model service."""
        self.absence.failed(started_at, now, asked, chance)
        self.note(LatestCall(chunk, now, False))

    def failed_alone(self, chunk: int, now: float) -> None:
        """Record a failed call that counts against its chunk, and so does not show that the model is away."""
        self.absence.failure_at = now
        self.note(LatestCall(chunk, now, False))

    def shared(self, calls: Iterable[LatestCall], failure_at: float, now: float) -> None:
        """Record what other isolates have written to the database: their latest calls, and when a call last failed."""
        for call in calls:
            self.calls.note(call)
            if call.succeeded:
                self.absence.another_succeeded(min(call.at, now))
                self.answers.note(min(call.at, now))
        self.absence.failure_at = max(self.absence.failure_at, min(failure_at, now))

    def is_away(self, now: float) -> bool:
        """Whether the model is away: failed within AWAY_SECONDS_KEPT, and not only in a brown-out."""
        absence = self.absence
        return absence.away and now - absence.failure_at <= limits.AWAY_SECONDS_KEPT and not self.is_brown(now)

    def is_brown(self, now: float) -> bool:
        """Whether the tenant had a success within BROWN_OUT_SECONDS, so that its failures mean at most a brown-out."""
        return now - self.absence.success_at <= limits.BROWN_OUT_SECONDS

    def is_mixed(self, now: float) -> bool:
        """Whether recent calls both failed and succeeded, and isolates exchange them: all failing shows itself."""
        return now - self.absence.failure_at <= limits.SHARE_CALLS_SECONDS and self.is_brown(now)

    def width(self, usual: int, now: float) -> int:
        """Return how many calls a run may have in flight: the more of the latest calls failed, the fewer.

        The width is `usual` times the share of successes among the latest calls of OTHERS_MOST chunks; a chunk without
        a known call counts as a success. Within WIDEN_SECONDS after the last failure it grows back to `usual`.
        """
        healed = (now - self.absence.failure_at) / limits.WIDEN_SECONDS
        return max(1, math.ceil(usual * min(1.0, self._share(now) + healed) - 1e-9))

    def widens_at(self, out: int, usual: int, now: float) -> float:
        """Return when a run with `out` calls may start one more, if none fails; infinity from `usual` on."""
        if out >= usual:
            return math.inf
        return self.absence.failure_at + limits.WIDEN_SECONDS * max(0.0, (out + 0.01) / usual - self._share(now))

    def _share(self, now: float) -> float:
        recent = [call for call in self.calls if now - call.at <= limits.OTHERS_SECONDS][: limits.OTHERS_MOST]
        return 1 - sum(not call.succeeded for call in recent) / limits.OTHERS_MOST

    def note(self, call: LatestCall) -> None:
        """Record how a call ended, for other isolates too."""
        self.unshared = self.calls.note(call) or self.unshared


class ModelHealths:
    """What an isolate knows about models, by tenant and model; above MODEL_HEALTHS_MOST the oldest use goes."""

    def __init__(self) -> None:
        self._by_tenant: dict[tuple[str, str], ModelHealth] = {}
        self._answers: dict[str, Answers] = {}

    def of(self, tenant: str, model: str) -> ModelHealth:
        """Return what the isolate knows about a model from a tenant's calls, in one object for all their tasks."""
        answers = self._answers.pop(model, None) or Answers()
        self._answers[model] = answers
        health = self._by_tenant.pop((tenant, model), None) or ModelHealth()
        health.answers = answers
        self._by_tenant[tenant, model] = health
        for kept in (self._by_tenant, self._answers):
            if len(kept) > limits.MODEL_HEALTHS_MOST:
                del kept[next(iter(kept))]  # type: ignore[arg-type]
        return health


class Patience:
    """Decides for one run, whose model may be away, when and how many calls may start, and which failures count.

    The run waits up to `seconds` for a model that is away. In earlier runs of the task, the model was away for
    `away_for` seconds, and `waits` probes in a row failed, the last one `failed_for` seconds ago. `resumed` says that
    an operator has ended the task's pause since then: its next probe waits for no other task's.
    """

    def __init__(
        self,
        health: ModelHealth,
        seconds: float,
        *,
        now: float,
        away_for: float | None = None,
        waits: int = 0,
        failed_for: float = 0.0,
        resumed: bool = False,
    ) -> None:
        self._health = health
        self._seconds = seconds
        self._resumed = resumed
        if away_for is None or not seconds:
            self._own = Absence()
        # `failed_for` is shortened, because the database's clock measured it, and a success may end the model's absence
        # only if it surely came after the failure.
        else:
            self._own = Absence(now - away_for, waits, now - max(0.0, failed_for - limits.AWAY_CLOCK_SECONDS))

    @property
    def lasts(self) -> bool:
        """Whether the task waits for a model that is away; else each failure counts as an attempt."""
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
        return self._health.answers.at

    def counts(self, chunk: int, started_at: float, now: float) -> bool:
        """Whether a failed call counts against its chunk, as far as this run knows now."""
        return counts(chunk, started_at, self.there_at, self._health.calls, now)

    def succeeded(self, chunk: int, now: float) -> None:
        """Record a successful call: the model is not away, for this task and all others."""
        self._own.returned(now)
        self._health.succeeded(chunk, now)

    def answered(self, chunk: int | None, now: float) -> None:
        """Record an answer that is neither a success nor trouble of the model service: the model is not away.

        `chunk` is set if the reply had no usable output, which does not prove that others fail by their own fault.
        """
        self._own.answered()
        self._health.absence.answered()
        if chunk is not None:
            self._health.note(LatestCall(chunk, now, False))

    def failed(self, chunk: int, started_at: float, now: float, asked: float | None, chance: float) -> None:
        """Record a call that failed because of the model service, which may have asked for `asked` seconds of pause."""
        self._resumed = False
        if self._seconds:
            self._own.failed(started_at, now, asked or 0.0, chance)
            self._health.failed(chunk, started_at, now, asked or 0.0, chance)

    def failed_alone(self, chunk: int, now: float) -> None:
        """Record a failed call that counts against its chunk, and so does not show that the model is away."""
        self._health.failed_alone(chunk, now)

    def started(self, now: float) -> None:
        """Record that calls start."""
        if self.narrow(now):
            self._health.absence.probed(now)

    def narrow(self, now: float) -> bool:
        """Whether this run may have only one call at a time in flight, as a probe of a model that is away.

        It may not have more if this task's own calls show that the model is away, or if they show nothing yet and those
        of other tasks do.
        """
        self._notice_return()
        return self._own.away or self._new_to_it(now)

    def away(self, now: float) -> bool:
        """Whether the model is away, and not just in a brown-out: the tenant has had no recent success."""
        return self.narrow(now) and not self._health.is_brown(now)

    def failing_for(self, now: float) -> float:
        """Return for how many seconds the tenant's calls of the model have failed, as far as the isolate knows."""
        since = self._health.absence.since
        return 0.0 if since is None else now - since

    def width(self, usual: int, now: float) -> int:
        """Return how many calls the run may have in flight, which is `usual`, or fewer if calls failed lately."""
        return self._health.width(usual, now) if self._seconds else usual

    def widens_at(self, out: int, usual: int, now: float) -> float:
        """Return when a run that has `out` calls in flight may start one more, if no call ends before."""
        return self._health.widens_at(out, usual, now)

    def over(self, now: float) -> bool:
        """Whether the model has been away for longer than the task waits for a model."""
        return self._own.since is not None and now >= self._own.since + self._seconds

    def opens_at(self, now: float, latest_start: float | None) -> float:
        """Return when the run's next call may start, or infinity while a probe of the model is in flight.

        `latest_start` is when the newest call in flight started; None if none is in flight. A call may start at the
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
        if self._health.is_brown(now):
            return max(own.asked_until, min(own_at, own.failure_at + limits.UNCOUNTED_SECONDS_MOST))
        others_at = self._others_at(now, limits.AWAY_PROBE_SECONDS)
        return max(own_at, min(others_at, ends_at) if now < ends_at else others_at)

    def _others_at(self, now: float, seconds_most: float) -> float:
        """Return until when other tasks' probes stop this one: at most `seconds_most` after the last."""
        if not self._health.is_away(now):
            return -math.inf
        absence = self._health.absence
        if self._resumed:
            return absence.asked_until
        return max(absence.asked_until, min(absence.open_at, max(absence.probed_at, absence.failure_at) + seconds_most))

    def _notice_return(self) -> None:
        """Treat the model as back after another task's success. The wait keeps counting until one here."""
        if self._own.away and self._health.returned_at > self._own.failure_at:
            self._own.another_succeeded(self._health.returned_at)

    def _new_to_it(self, now: float) -> bool:
        own = self._own
        return self.lasts and own.success_at == -math.inf and own.since is None and self._health.is_away(now)
