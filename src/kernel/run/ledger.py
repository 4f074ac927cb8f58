"""Keeps the calls under one claim, which are ready, in flight or waiting, and their cost and unsaved progress. Pure.

Times are seconds of the run's steady clock, and times and random numbers are passed in.
"""

import heapq
import math
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..calls.model_health import ModelHealth, Patience
from ..calls.pace import start_pause_seconds, width
from ..calls.protocol import ModelReply
from ..domain.errors import ModelDayUsedUp, ModelError, ModelRateLimited
from ..domain.structure import Rejection
from ..domain.task import Failure, LastError, is_truncated
from ..store.claims import AttemptEntry, CallKey, Claim, FailedCall, MergeLevel, Output, Progress, SharedCalls
from ..store.options import AnswerCounts
from .failed_calls import CallRetries, Gaps, Rejections, Retry, provider_answer_of
from .waits import Pauses, WaitReport

if TYPE_CHECKING:
    from .kinds import CallGate

MESSAGE_CHARS_MOST = 500


class Bill:
    """A task's bill over all of its claims, from what this claim found. A call in flight is not on the bill yet."""

    def __init__(self, claim: Claim) -> None:
        self.settled = claim.calls_settled
        self.in_doubt = claim.calls_in_doubt
        self.input_tokens = claim.input_tokens
        self.output_tokens = claim.output_tokens
        self.cached_tokens = claim.cached_tokens
        self.truncated = claim.truncated

    def succeeded(self, reply: ModelReply) -> None:
        """Count a model call that gave an output."""
        self.rejected(reply)
        self.truncated += is_truncated(reply.finish_reason)

    def rejected(self, reply: ModelReply) -> None:
        """Count a model call whose answer does not fit the task's schema."""
        self.settled += 1
        self.input_tokens += reply.input_tokens
        self.output_tokens += reply.output_tokens
        self.cached_tokens += reply.cached_tokens

    def failed(self, error: ModelError) -> None:
        """Count a failed call: as settled if the provider answered, otherwise as in doubt."""
        if error.answered:
            self.settled += 1
        else:
            self.in_doubt += 1


class UnsavedProgress:
    """The outputs and failures since the last saved write.

    `step` is the number of the row's last write at the time of the claim. A failed write may have taken effect, or may
    still do so. It keeps its number as long as it is sent again. After it was given up, the next write has the next
    number, and names the first unconfirmed write (`first_step`). It divides the outputs into the same pieces as the
    unconfirmed writes did, as `tries` says.
    """

    def __init__(self, step: int) -> None:
        self.outputs: list[Output] = []
        self.failures: dict[CallKey, FailedCall] = {}
        self._first_step = self._step = step + 1
        self._tries: list[int] = []  # for each write that was not confirmed, how many outputs it contained

    def __bool__(self) -> bool:
        return bool(self.outputs or self.failures)

    def next_write(self) -> dict[str, Any]:
        """Return the content of the next write, as members of a `Progress`."""
        tries = tuple(self._tries)
        self._tries.append(len(self.outputs))
        return {
            "step": self._step,
            "first_step": self._first_step,
            "outputs": tuple(self.outputs),
            "tries": tries,
            "failures": tuple(self.failures.values()),
        }

    @property
    def last_step(self) -> int:
        """The number of the last write that took effect or was given up."""
        return self._step - 1

    def given_up(self) -> None:
        """Note that a failed write will not be sent again."""
        self._step += 1

    def saved(self) -> None:
        """Note that the last write is saved, and drop its content."""
        self._first_step = self._step = self._step + 1
        self.outputs.clear()
        self.failures.clear()
        self._tries.clear()


class Ledger:
    """Keeps every call of a claim in exactly one state: ready, waiting, in flight or done.

    `patience` is the run's patience with its model; without it, each failure counts as an attempt. `now` is when the
    claim was granted. A call whose answer is rejected is made again up to `reasks` times. `always_gaps`
    and `segment_chars` are those of the task's kind. `gate` counts what the calls cost, if they have a price.
    """

    def __init__(
        self,
        claim: Claim,
        max_attempts: int,
        patience: Patience | None = None,
        now: float = 0.0,
        *,
        reasks: int = 0,
        always_gaps: bool = False,
        segment_chars: int | None = None,
        gate: "CallGate | None" = None,
    ) -> None:
        self._gate = gate
        self._money = claim.money
        self._max_attempts = max_attempts
        self.patience = patience or Patience(ModelHealth(), 0, now=now)
        self._report = WaitReport(claim, now)
        self.retries = CallRetries(claim, max_attempts, self.patience, now)
        self._ready: deque[CallKey] = deque()
        self._waiting: list[tuple[float, CallKey]] = []
        self._paused = {key: now + left / 1000 for key, left in claim.paused.items()}  # by call: its pause's end
        self._in_flight: dict[CallKey, float] = {}  # The run's calls in flight, and when each started.
        self._done = set(claim.outputs)
        self._completed = sum(key.level == 0 for key in self._done)
        self._pauses = Pauses(claim.rate_waits)
        self._announced = False  # true if calls were announced and no call has ended since then
        self._unsaved = UnsavedProgress(claim.step)
        self._bill = Bill(claim)
        self._doubted = claim.doubted
        self._stalls = claim.stalls
        self.finished = False  # true if a call has finished under this claim
        self.idle_runs = claim.idle_runs
        self.fruitless = 0  # How many announcements in a row were followed by no started call.
        self.ended = 0  # How many calls of the run have ended.
        self._failed = sum(key.level == 0 for key in claim.failed_for_good) + len(claim.gaps) + len(claim.left_out)
        self._failure: Failure | None = next(iter(claim.failed_for_good.values()), None)
        self.rejections = Rejections(claim, reasks)
        self.gaps = Gaps(claim, always=always_gaps)
        self._segment_chars = segment_chars
        # Calls that give no output: calls for gaps, and merges of only gaps.
        self.left_out: set[CallKey] = {*claim.gaps, *claim.left_out}
        self._counted = self._answer_counts()

    # --- what is to do --------------------------------------------------------------------------------

    def add(self, keys: Iterable[CallKey]) -> None:
        """Add calls to the ledger, except calls that already have an output and calls that are left out."""
        for key in keys:
            if key in self._done or key in self.left_out:
                continue
            if key in self._paused:
                heapq.heappush(self._waiting, (self._paused.pop(key), key))
            else:
                self._ready.append(key)

    @property
    def failure(self) -> Failure | None:
        """The failure with which the task must end as soon as no call is in flight; None if the task need not fail."""
        return self._failure or self.gaps.failure()

    def startable(self, now: float, most: int) -> list[CallKey]:
        """Return up to `most` calls that may start now, in order: none after a final failure, and none during a pause.

        While the model is away, `startable` returns only one call, as a probe, and none if another probe is in flight.
        """
        pauses = self._pauses
        if self.failure is not None or now < max(
            pauses.provider_until, pauses.database_until, pauses.quota_until, pauses.cost_until, self._opens_at(now)
        ):
            return []
        narrow = self.patience.narrow(now)
        while self._waiting and self._waiting[0][0] <= now:
            key = heapq.heappop(self._waiting)[1]
            # A failed call is made again before other calls start; only while the model is away, others start first.
            self._ready.append(key) if narrow else self._ready.appendleft(key)
        return self.first(min(most, 1) if narrow else most)

    def first(self, most: int) -> list[CallKey]:
        """Return up to `most` ready calls in their order, whether they may start now or not."""
        return [self._ready[at] for at in range(min(most, len(self._ready)))]

    @property
    def ready(self) -> int:
        """How many calls could start at once if nothing else held them back."""
        return len(self._ready)

    def start(self, keys: Iterable[CallKey], now: float) -> None:
        """Record that calls that `startable` or `first` returned are in flight."""
        self._announced = True
        for key in keys:
            assert self._ready.popleft() == key
            self._in_flight[key] = now
            self.patience.started(now)

    def next_at(self, now: float) -> float | None:
        """Return when a call may start next; None if there is no more call to start, or if the task must fail."""
        if self.failure is not None or not (self._ready or self._waiting):
            return None
        return max(self.pauses(now).values())

    def give_up(self, now: float) -> None:
        """Fail the task if the model has been away for too long and it is another task that probes the model now."""
        error = self.last_error
        if error is not None and self.failure is None and self.patience.over(now) and now < self._opens_at(now):
            self._failure = Failure(error.code, error.message, True)

    def fail(self, failure: Failure) -> None:
        """Let no further call start, and fail the task once no call is in flight."""
        self._failure = self._failure or failure

    def _opens_at(self, now: float) -> float:
        return self.patience.opens_at(now, max(self._in_flight.values(), default=None))

    def pauses(self, now: float) -> dict[str, float]:
        """Return for each reason until when calls pause; 0 if they do not."""
        opens_at = self._opens_at(now)
        backoff = 0.0 if self._ready or not self._waiting else self._waiting[0][0]
        if self.patience.narrow(now):
            opens_at, backoff = max(opens_at, backoff), 0.0
        return self._pauses.until(opens_at, backoff)

    def all_done(self, keys: Iterable[CallKey]) -> bool:
        """Whether each of the given calls has an output, or is left out because it will give none."""
        return all(key in self._done or key in self.left_out for key in keys)

    def leave_out(self, keys: Iterable[CallKey]) -> None:
        """Leave out calls that need not be made, because all of their inputs are gaps."""
        self.left_out.update(keys)

    def lacks(self, key: CallKey) -> bool:
        """Whether a call has no output."""
        return key not in self._done

    @property
    def out(self) -> Collection[CallKey]:
        """The calls in flight."""
        return self._in_flight.keys()

    @property
    def in_flight(self) -> int:
        """How many calls are in flight."""
        return len(self._in_flight)

    def narrowed(self, usual: int) -> float:
        """Return how many more calls may be in flight: fewer than usual after workers died without a finished call."""
        allowed = width(self._stalls, self._max_attempts, usual) if self._stalls else math.inf
        return allowed - len(self._in_flight)

    @property
    def unsaved(self) -> bool:
        """Whether some outputs or failures of the run are not saved yet."""
        return bool(self._unsaved)

    @property
    def sent(self) -> int:
        """How many calls the task has made in all, including the calls in flight."""
        return self._bill.settled + self._bill.in_doubt + len(self._in_flight)

    @property
    def last_error(self) -> LastError | None:
        """The latest failed call of the task, if no call has succeeded since."""
        return self._report.last_error

    # --- what happened ----------------------------------------------------------------------------------

    def succeeded(
        self,
        key: CallKey,
        reply: ModelReply,
        now: float = 0.0,
        *,
        started_ms: int | None = None,
        ended_ms: int | None = None,
        first_ms: int | None = None,
    ) -> None:
        """Record a call's output. The ms are those of an `Output`."""
        started_at = self._made(key, reply)
        self.rejections.accepted(key, reply)
        self._bill.succeeded(reply)
        self._stalls = self._pauses.rate_waits = 0
        self.finished = True
        self._done.add(key)
        self._completed += key.level == 0
        self._unsaved.failures.pop(key, None)
        calls = self.retries.tried(key).calls + 1
        self._unsaved.outputs.append(
            Output(
                *(key, reply.output, calls, reply.finish_reason, started_ms, ended_ms, reply.lane, first_ms),
                *(reply.quotes, reply.from_cache),
            )
        )
        self._report.succeeded(started_at, now)
        self.retries.succeeded(key, now)

    def rejected(
        self,
        key: CallKey,
        reply: ModelReply,
        rejection: Rejection,
        now: float,
        entry: AttemptEntry | None = None,
        chars: int | None = None,
    ) -> None:
        """Record an answer that was rejected: the call is made again at once, or has failed for good."""
        started_at = self._made(key, reply)
        self.gaps.measured(key, chars)
        self._bill.rejected(reply)
        self._stalls = self._pauses.rate_waits = 0
        self.finished = True
        final = self.rejections.rejected(key, rejection)
        failure = Failure(rejection.code, rejection.message, True)
        self._report.failed(key, failure, started_at, now)
        self._follow_up(Retry(self.retries.rejected(key, failure, entry, now, final=final), now))

    def failed(
        self,
        key: CallKey,
        error: ModelError,
        now: float,
        chance: float,
        entry: AttemptEntry | None = None,
        chars: int | None = None,
    ) -> None:
        """Record a failed call: it is made again later, leaves a gap, or ends the task. `entry` is for the log."""
        started_at = self._made(key, error)
        self.gaps.measured(key, chars)
        self._bill.failed(error)
        if error.of_service:
            self._stalls, self.finished = 0, True  # a failure of the service does not show that the task kills workers
        limited, used_up = isinstance(error, ModelRateLimited), isinstance(error, ModelDayUsedUp)
        given_up = limited and self._pauses.rate_limited(error, now, chance)
        if used_up:
            self._pauses.used_up(error, now, self._report.at_ms(now), chance)
        else:
            self._pauses.asked(error, now)
        failure = Failure.of(error.code, str(error)[:MESSAGE_CHARS_MOST], error.retryable)
        self._report.failed(key, failure, started_at, now)
        if limited or used_up:
            self._follow_up(Retry(self.retries.limited(key, failure, entry, final=given_up), now, ends_task=True))
        else:
            then = self.retries.failed(key, error, failure, started_at, now, chance, entry)
            self._follow_up(then._replace(failed=then.failed._replace(provider_answer=provider_answer_of(error))))

    def settle(self, now: float) -> None:
        """Count held failures that proved to be their chunks' fault, after all ended calls were recorded."""
        for late in self.retries.settle(now, self._in_flight):
            self._remove({late.failed.key})
            self._follow_up(late)

    def _remove(self, keys: set[CallKey]) -> None:
        """Remove calls from those that may start now or later."""
        self._ready = deque(key for key in self._ready if key not in keys)
        self._waiting = [waiting for waiting in self._waiting if waiting[1] not in keys]
        heapq.heapify(self._waiting)

    def _follow_up(self, then: Retry) -> None:
        """Make a failed call wait for its next try, leave a gap, or end the task."""
        failed, at, lasts, held, ends_task = then
        failed = failed._replace(rejection=self.rejections.of(failed.key))
        if not (failed.final and ends_task):
            failed = failed._replace(gap_chars=self.gaps.chars(failed.key))
        if lasts and not failed.final:
            failed = failed._replace(rests_until=self._report.at_ms(at))
        elif held is not None:
            failed = failed._replace(held=(self._report.at_ms(held[0]), self._report.at_ms(held[1])))
        if failed.entry is None and (before := self._unsaved.failures.get(failed.key)) is not None:
            failed = failed._replace(entry=before.entry)  # the latest failure is not yet in the log of the calls
        self._unsaved.failures[failed.key] = failed
        if failed.final and failed.gap_chars is not None:
            self._failed += 1
            self.gaps.add(failed)
            self.left_out.add(failed.key)
        elif failed.final:
            self._failed += failed.key.level == 0
            self._failure = self._failure or failed.failure
        else:
            heapq.heappush(self._waiting, (at, failed.key))

    def not_started(self, key: CallKey, now: float) -> None:
        """Take back a model call that was announced and not made: the call is ready again, and loses no attempt.

        If no announced call was made, the database was too slow, and no call starts for a while. This pause grows with
        each such announcement in a row.
        """
        del self._in_flight[key]
        if self._gate is not None:
            self._gate.ended(key, None)
        self._ready.appendleft(key)
        self.fruitless += self._announced
        self._announced = False
        if self.fruitless:
            self._pauses.pause(now + start_pause_seconds(self.fruitless))

    def lose(self, keys: Iterable[CallKey], failure: Failure, most: int) -> int:
        """Leave gaps for up to `most` of the calls, except those ended or in flight. Return how many were given up."""
        lost = set(islice((key for key in keys if not (self.all_done([key]) or key in self._in_flight)), most))
        self._remove(lost)
        for key in sorted(lost):
            self._follow_up(Retry(FailedCall(key, self.retries.lost(key), True, failure), 0.0))
        return len(lost)

    def pause(self, until: float) -> None:
        """Let no call start before `until`. Calls in flight continue."""
        self._pauses.pause(until)

    def wait_for_cost(self, until: float) -> None:
        """Let no call start before `until`, because a cap does not allow the next one."""
        self._pauses.cost_until = until

    def idled(self) -> None:
        """Count a run that releases its task because none of its calls started."""
        self.idle_runs += 1

    def _made(self, key: CallKey, outcome: ModelReply | ModelError) -> float:
        """Remove a call that has ended from the calls in flight, and return when it started."""
        started_at = self._in_flight.pop(key)
        if self._gate is not None:
            self._gate.ended(key, outcome)
        self.rejections.made(key)
        self.ended += 1
        self._announced = False
        self.fruitless = self.idle_runs = 0
        return started_at

    def abandon(self) -> None:
        """Record all calls in flight as in doubt, because the run no longer waits for their answers."""
        self._bill.in_doubt += len(self._in_flight)  # the provider may have charged for them
        if self._gate is not None:
            self._gate.abandoned(self._in_flight)
        self._doubted = self._doubted.union(self._in_flight)
        self._in_flight.clear()

    def read_on(self) -> None:
        """Note that the run has read and recorded a part of its file, so that its claim is no stall."""
        self._stalls, self.finished = 0, True

    def stalled(self) -> None:
        """Record that the claim ends with an unexpected error, so that its calls in flight are in doubt."""
        self._stalls += not self.finished
        self.abandon()

    # --- what is saved ---------------------------------------------------------------------------

    def progress(
        self,
        starting: Sequence[CallKey],
        minimum_calls: int,
        now: float = 0.0,
        merges: Sequence[MergeLevel] = (),
        shared: SharedCalls | None = None,
    ) -> Progress:
        """Return the content of the next write: all unsaved progress, the announced calls, and outcomes to share."""
        if starting:  # as long as these calls are announced, no other task of the isolate may probe the model
            self.patience.started(now)
        away_since, asked_until = self.patience.away_since, self._pauses.provider_until
        return Progress(
            **self._unsaved.next_write(),
            merges=merges,
            announces=bool(starting),
            in_flight=(*self._in_flight, *starting),
            doubted=sorted(self._doubted),
            calls_settled=self._bill.settled,
            calls_in_doubt=self._bill.in_doubt,
            calls_minimum=minimum_calls,
            completed=self._completed,
            failed=self._failed,
            input_tokens=self._bill.input_tokens,
            output_tokens=self._bill.output_tokens,
            cached_tokens=self._bill.cached_tokens,
            money=self._money if self._gate is None else self._gate.totals((*self._in_flight, *starting)),
            stalls=self._stalls,
            rate_waits=self._pauses.rate_waits,
            idle_runs=self.idle_runs,
            finished=self.finished or self.failure is not None,
            away_since=None if away_since is None else self._report.at_ms(away_since),
            away_waits=self.patience.waits,
            last_error=self.last_error,
            wait=self._report.wait(self.pauses(now), now),
            asked_until=self._report.at_ms(asked_until) if asked_until > now else None,
            pace_ms=self._report.pace_ms,
            truncated=self._bill.truncated,
            segment_chars=self._segment_chars,
            shared=shared,
            answer_counts=None if (counts := self._answer_counts()) == self._counted else counts,
        )

    def _answer_counts(self) -> AnswerCounts:
        return self.rejections.counts(self.gaps.coverage)

    @property
    def last_step(self) -> int:
        """The number of the last write that took effect or was given up."""
        return self._unsaved.last_step

    def given_up(self) -> None:
        """Note that a failed write, which may still land, is not sent again. The next write gets another number."""
        self._unsaved.given_up()

    def saved(self) -> None:
        """Note that the last write has taken effect, so that all of its progress is saved."""
        self._unsaved.saved()
        self._counted = self._answer_counts()
