"""The calls of one claim: what is to do, what is out, what waits, and what the store has not been told yet.

Pure: times are seconds on one steady clock that the caller reads, jitter is passed in.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Sequence

from ...core.errors import ModelError, ModelRateLimited
from ...core.news import News
from ...core.patience import Patience
from ...core.stalls import width
from ...core.task import Failure
from ...inference.protocol import ModelReply
from ...store.claims import UNTIMED, CallKey, CallTimes, Claim, MergeLevel, Output, Progress, Told
from .bill import Bill
from .call_retries import Next, Trials
from .start_pauses import Pauses
from .unsaved_progress import Untold
from .wait_report import Bars, Words

MESSAGE_CHARS_MOST = 500


class Ledger:
    """Keeps every call of a claim in exactly one place: ready, waiting, in flight or done.

    `patience` is the run's with its model; without it each failure counts. The claim was granted at `now`.
    """

    def __init__(self, claim: Claim, max_attempts: int, patience: Patience | None = None, now: float = 0.0) -> None:
        self._max_attempts = max_attempts
        self.patience = patience or Patience(News(), 0, now=now)
        self._words = Words(claim, now)
        self.trials = Trials(claim, max_attempts, self.patience, now)
        self._ready: deque[CallKey] = deque()
        self._waiting: list[tuple[float, CallKey]] = []
        self._resting = {key: now + left / 1000 for key, left in claim.resting.items()}  # pauses of earlier runs
        self._in_flight: dict[CallKey, float] = {}  # and when each started
        self._done = set(claim.outputs)
        self._completed = sum(key.level == 0 for key in self._done)
        self._pauses = Pauses(claim.rate_waits)
        self._announced = False  # calls were, and none of this run has come back since
        self._untold = Untold(claim.step)
        self._bill = Bill(claim)
        self._stalls = claim.stalls
        self.finished = False  # whether a call has, under this claim
        self.idle_runs = claim.idle_runs
        self.fruitless = 0  # announcements in a row of which no call started
        self.ended = 0  # calls of this run that were made, and came back
        self._failed = sum(key.level == 0 for key in claim.refused)
        self.failure: Failure | None = next(iter(claim.refused.values()), None)

    # --- what is to do --------------------------------------------------------------------------------

    def add(self, keys: Iterable[CallKey]) -> None:
        """Take on calls; those that have an output already are left out."""
        for key in keys:
            if key in self._done:
                continue
            if key in self._resting:
                heapq.heappush(self._waiting, (self._resting.pop(key), key))
            else:
                self._ready.append(key)

    def startable(self, now: float, most: int) -> list[CallKey]:
        """Return up to `most` calls that may start now, in order. None after a failure or during a pause.

        While the model is away it is one call, if no other asks already.
        """
        pauses = self._pauses
        if self.failure is not None or now < max(pauses.provider_until, pauses.database_until, self._opens_at(now)):
            return []
        narrow = self.patience.narrow(now)
        while self._waiting and self._waiting[0][0] <= now:
            key = heapq.heappop(self._waiting)[1]
            # A call that failed is made before the others. But who asks for a model that is away is another one.
            self._ready.append(key) if narrow else self._ready.appendleft(key)
        return self.first(min(most, 1) if narrow else most)

    def first(self, most: int) -> list[CallKey]:
        """Return up to `most` calls that are ready, in order, whether or not they may start now."""
        return [self._ready[place] for place in range(min(most, len(self._ready)))]

    @property
    def ready(self) -> int:
        """How many calls wait for nothing but a free place."""
        return len(self._ready)

    def start(self, keys: Iterable[CallKey], now: float) -> None:
        """Move calls that `startable` returned into flight."""
        self._announced = True
        for key in keys:
            assert self._ready.popleft() == key
            self._in_flight[key] = now
            self.patience.started(now)

    def next_at(self, now: float) -> float | None:
        """Return when a call may start next, None if none is left to start or none may."""
        if self.failure is not None or not (self._ready or self._waiting):
            return None
        return self.bars(now).latest

    def waits_for_model(self, now: float) -> bool:
        """Whether the model is away. Such waits may follow each other without a write that renews the claim."""
        return self.patience.narrow(now)

    def give_up(self, now: float) -> None:
        """Fail for want of a model that has been away for too long, and that it is not this task's turn to ask."""
        error = self._words.last_error
        if error is not None and self.failure is None and self.patience.over(now) and now < self._opens_at(now):
            self.failure = Failure(error.code, error.message, True)

    def _opens_at(self, now: float) -> float:
        return self.patience.opens_at(now, max(self._in_flight.values(), default=None))

    def bars(self, now: float) -> Bars:
        """Return what keeps calls from starting."""
        pauses, opens_at = self._pauses, self._opens_at(now)
        backoff = 0.0 if self._ready or not self._waiting else self._waiting[0][0]
        if self.patience.narrow(now):
            opens_at, backoff = max(opens_at, backoff), 0.0
        return Bars(opens_at, pauses.provider_until, pauses.database_until, backoff)

    def all_done(self, keys: Iterable[CallKey]) -> bool:
        """Whether each of these calls has its output."""
        return all(key in self._done for key in keys)

    def lacks(self, key: CallKey) -> bool:
        """Whether this call has no output yet."""
        return key not in self._done

    @property
    def in_flight(self) -> int:
        """How many calls are out."""
        return len(self._in_flight)

    def narrowed(self, usual: int) -> float:
        """Return how many more calls may be in flight because workers have died, until a call has finished."""
        allowed = width(self._stalls, self._max_attempts, usual) if self._stalls else math.inf
        return allowed - len(self._in_flight)

    @property
    def unsaved(self) -> bool:
        """Whether something happened that the store has not been told."""
        return bool(self._untold)

    @property
    def sent(self) -> int:
        """How many calls of the whole task are on its bill, those in flight among them."""
        return self._bill.settled + self._bill.in_doubt + len(self._in_flight)

    # --- what happened ----------------------------------------------------------------------------------

    def succeeded(self, key: CallKey, reply: ModelReply, times: CallTimes = UNTIMED, now: float = 0.0) -> None:
        """Book a call's output."""
        started_at = self._made(key)
        self._bill.succeeded(reply)
        self._stalls = self._pauses.rate_waits = 0
        self.finished = True
        self._done.add(key)
        self._completed += key.level == 0
        self._untold.failures.pop(key, None)
        calls = self.trials.tried(key).calls + 1
        self._untold.outputs.append(
            Output(key, reply.output, calls, reply.finish_reason, times.started, times.ended, reply.lane, times.first)
        )
        self._words.succeeded(started_at, now)
        self.trials.succeeded(key, now)

    def failed(self, key: CallKey, error: ModelError, now: float, chance: float) -> None:
        """Book a call's failure: it waits for its next try, or the claim ends with it."""
        started_at = self._made(key)
        self._bill.failed(error)
        if error.of_service:
            self._stalls, self.finished = 0, True  # to wait for a model kills no worker
        limited = isinstance(error, ModelRateLimited)
        given_up = limited and self._pauses.rate_limited(error, now, chance)
        self._pauses.asked(error, now)
        failure = Failure.of(error.code, str(error)[:MESSAGE_CHARS_MOST], error.retryable)
        self._words.failed(key, failure, started_at, now)
        if limited:
            self._place(Next(self.trials.limited(key, failure, final=given_up), now))
        else:
            self._place(self.trials.failed(key, error, failure, started_at, now, chance))

    def settle(self, now: float) -> None:
        """Count failures that turn out to be their chunks' own, once all calls that ended together are booked."""
        for late in self.trials.settle(now, self._in_flight):
            key = late.failed.key
            self._ready = deque(other for other in self._ready if other != key)
            self._waiting = [waiting for waiting in self._waiting if waiting[1] != key]
            heapq.heapify(self._waiting)
            self._place(late)

    def _place(self, then: Next) -> None:
        """Put a call that failed where it waits for its next try, or end the claim with it."""
        failed, at, rests, held = then
        if rests and not failed.final:
            failed = failed._replace(rests_until=self._words.at_ms(at))
        elif held is not None:
            failed = failed._replace(held=(self._words.at_ms(held[0]), self._words.at_ms(held[1])))
        self._untold.failures[failed.key] = failed
        if failed.final:
            self._end_with(failed.key, failed.failure)
        else:
            heapq.heappush(self._waiting, (at, failed.key))

    def _end_with(self, key: CallKey, failure: Failure) -> None:
        self._failed += key.level == 0
        self.failure = self.failure or failure

    def not_started(self, key: CallKey, now: float) -> None:
        """Take a call back that was announced and not made; it costs no attempt.

        All starts pause, longer with each announcement in a row of which nothing started: what was too slow is the
        database, for all calls alike. They do not where another call was made since: then it was the call's own turn.
        """
        del self._in_flight[key]
        self._ready.appendleft(key)
        self.fruitless += self._announced
        self._announced = False
        self._pauses.unstarted(self.fruitless, now)

    def rest(self, until: float) -> None:
        """Let nothing start before then. What is out goes on."""
        self._pauses.rest(until)

    def idled(self) -> None:
        """Book a run that gives its task back because nothing started."""
        self.idle_runs += 1

    def _made(self, key: CallKey) -> float:
        """Take a call out of flight that was made, and return when it started."""
        started_at = self._in_flight.pop(key)
        self.ended += 1
        self._announced = False
        self.fruitless = self.idle_runs = 0
        return started_at

    def abandon(self) -> None:
        """Book the calls in flight as in doubt: nobody waits for their outcome."""
        self._bill.abandoned(len(self._in_flight))
        self._in_flight.clear()

    def stalled(self) -> None:
        """Book a claim that ended in an unexpected error, its calls in flight in doubt."""
        self._stalls += not self.finished
        self.abandon()

    # --- what the store is told ---------------------------------------------------------------------------

    def progress(
        self,
        starting: Sequence[CallKey],
        minimum_calls: int,
        now: float = 0.0,
        merges: Sequence[MergeLevel] = (),
        told: Told | None = None,
    ) -> Progress:
        """Say all that is new, and announce the calls about to start: the write after the last one that was saved.

        `told` is for other isolates.
        """
        if starting:  # no other task is to ask for the model while this is being written
            self.patience.started(now)
        away_since, bars = self.patience.away_since, self.bars(now)
        return Progress(
            **self._untold.tell(),
            merges=merges,
            in_flight=(*self._in_flight, *starting),
            calls_settled=self._bill.settled,
            calls_in_doubt=self._bill.in_doubt,
            calls_minimum=minimum_calls,
            completed=self._completed,
            failed=self._failed,
            input_tokens=self._bill.input_tokens,
            output_tokens=self._bill.output_tokens,
            stalls=self._stalls,
            rate_waits=self._pauses.rate_waits,
            idle_runs=self.idle_runs,
            finished=self.finished or self.failure is not None,
            away_since=None if away_since is None else self._words.at_ms(away_since),
            away_waits=self.patience.waits,
            last_error=self._words.last_error,
            wait=self._words.wait(bars, now),
            pace_ms=self._words.pace_ms,
            truncated=self._bill.truncated,
            told=told,
        )

    def given_up(self) -> None:
        """Take note that a write is not sent again. It may land yet, so the next one has another number."""
        self._untold.given_up()

    def saved(self) -> None:
        """Forget what the store has been told."""
        self._untold.saved()
