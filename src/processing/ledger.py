"""The calls of one claim: what is to do, what is out, what waits, and what the store has not been told yet.

Pure: times are seconds on one steady clock that the caller reads, jitter is passed in.
"""

import heapq
import math
from collections import deque
from collections.abc import Iterable, Sequence

from ..core import limits
from ..core.errors import ModelError, ModelRateLimited, ModelRefused
from ..core.pace import start_pause_seconds
from ..core.retry import backoff_seconds, rate_limit_seconds
from ..core.stalls import width
from ..core.task import Failure
from ..inference.protocol import ModelReply
from ..store.claims import CallKey, Claim, FailedCall, MergeLevel, Output, Progress, Tried

MESSAGE_CHARS_MOST = 500


class Ledger:
    """Keeps every call of a claim in exactly one place: ready, waiting, in flight or done."""

    def __init__(self, claim: Claim, max_attempts: int) -> None:
        self._max_attempts = max_attempts
        self._ready: deque[CallKey] = deque()
        self._waiting: list[tuple[float, CallKey]] = []
        self._in_flight: dict[CallKey, None] = {}
        self._done = set(claim.outputs)
        self._completed = sum(key.level == 0 for key in self._done)
        self._tried = dict(claim.tried)
        for key in claim.doubted - claim.outputs:
            before = self._tried.get(key, Tried())
            self._tried[key] = Tried(before.attempts, before.calls + 1)
        self._paused_until = 0.0
        self._unstarted_until = 0.0
        self._announced = False  # calls were, and none of this run has come back since
        self._step = claim.step
        self._settled = claim.calls_settled
        self._in_doubt = claim.calls_in_doubt
        self._input_tokens = claim.input_tokens
        self._output_tokens = claim.output_tokens
        self._stalls = claim.stalls
        self.finished = False  # whether a call has, under this claim
        self._rate_waits = claim.rate_waits
        self.idle_runs = claim.idle_runs
        self.fruitless = 0  # announcements in a row of which no call started
        self.ended = 0  # calls of this run that were made, and came back
        self._failed = sum(key.level == 0 for key in claim.refused)
        self._new_outputs: list[Output] = []
        self._tries: list[int] = []  # how many of them each write told that was not confirmed
        self._new_failures: dict[CallKey, FailedCall] = {}
        self.failure: Failure | None = next(iter(claim.refused.values()), None)

    # --- what is to do --------------------------------------------------------------------------------

    def add(self, keys: Iterable[CallKey]) -> None:
        """Take on calls; those that have an output already are left out."""
        self._ready.extend(key for key in keys if key not in self._done)

    def startable(self, now: float, most: int) -> list[CallKey]:
        """Return up to `most` calls that may start now, in order. None after a failure or during a pause."""
        if self.failure is not None or now < max(self._paused_until, self._unstarted_until):
            return []
        while self._waiting and self._waiting[0][0] <= now:
            self._ready.append(heapq.heappop(self._waiting)[1])
        return [self._ready[place] for place in range(min(most, len(self._ready)))]

    def start(self, keys: Iterable[CallKey]) -> None:
        """Move calls that `startable` returned into flight."""
        self._announced = True
        for key in keys:
            assert self._ready.popleft() == key
            self._in_flight[key] = None

    def next_at(self) -> float | None:
        """Return when a call may start next, None if none is left to start or none may."""
        if self.failure is not None or not (self._ready or self._waiting):
            return None
        earliest = 0.0 if self._ready else self._waiting[0][0]
        return max(earliest, self._paused_until, self._unstarted_until)

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
        if self._stalls == 0:
            return math.inf
        return width(self._stalls, self._max_attempts, usual) - len(self._in_flight)

    @property
    def unsaved(self) -> bool:
        """Whether something happened that the store has not been told."""
        return bool(self._new_outputs or self._new_failures)

    @property
    def sent(self) -> int:
        """How many calls of the whole task are on its bill, those in flight among them."""
        return self._settled + self._in_doubt + len(self._in_flight)

    # --- what happened ----------------------------------------------------------------------------------

    def succeeded(
        self, key: CallKey, reply: ModelReply, started_ms: int | None = None, ended_ms: int | None = None
    ) -> None:
        """Book a call's output, with its times."""
        self._made(key)
        self._settled += 1
        self._input_tokens += reply.input_tokens
        self._output_tokens += reply.output_tokens
        self._stalls = self._rate_waits = 0
        self.finished = True
        self._done.add(key)
        self._completed += key.level == 0
        self._new_failures.pop(key, None)
        calls = self._tried.get(key, Tried()).calls + 1
        self._new_outputs.append(Output(key, reply.output, calls, started_ms=started_ms, ended_ms=ended_ms))

    def failed(self, key: CallKey, error: ModelError, now: float, chance: float) -> None:
        """Book a call's failure: it waits for its next try, or the claim ends with it."""
        self._made(key)
        if error.answered:
            self._settled += 1
        else:
            self._in_doubt += 1  # nobody knows whether the provider counted it
        before = self._tried.get(key, Tried())
        costs = 0 if isinstance(error, ModelRateLimited) else 1
        tried = self._tried[key] = Tried(before.attempts + costs, before.calls + 1)
        final = not error.retryable or isinstance(error, ModelRefused) or tried.attempts >= self._max_attempts
        if isinstance(error, ModelRateLimited):
            final = self._rate_limited(error, now, chance)
        failure = Failure(error.code, str(error)[:MESSAGE_CHARS_MOST], error.retryable)
        self._new_failures[key] = FailedCall(key, tried, final, failure)
        if final:
            self._failed += key.level == 0
            self.failure = self.failure or failure
        else:
            wait = 0.0 if costs == 0 else backoff_seconds(tried.attempts, chance)
            heapq.heappush(self._waiting, (now + wait, key))

    def not_started(self, key: CallKey, now: float) -> None:
        """Take a call back that was announced and not made; it costs no attempt.

        All starts pause, longer with each announcement in a row of which nothing started: what was too slow is the
        database, for all calls alike. They do not where another call was made since: then it was the call's own turn.
        """
        del self._in_flight[key]
        self._ready.appendleft(key)
        self.fruitless += self._announced
        self._announced = False
        if self.fruitless:
            self._unstarted_until = max(self._unstarted_until, now + start_pause_seconds(self.fruitless))

    def rest(self, until: float) -> None:
        """Let nothing start before then. What is out goes on."""
        self._unstarted_until = max(self._unstarted_until, until)

    def idled(self) -> None:
        """Book a run that gives its task back because nothing started."""
        self.idle_runs += 1

    def _made(self, key: CallKey) -> None:
        """Take a call out of flight that was made."""
        del self._in_flight[key]
        self.ended += 1
        self._announced = False
        self.fruitless = self.idle_runs = 0

    def _rate_limited(self, error: ModelRateLimited, now: float, chance: float) -> bool:
        """Pause all starts as long as the provider asks; True when it has been asking for too long."""
        if now >= self._paused_until:  # several refusals of one burst are one wait
            self._rate_waits += 1
        wait = rate_limit_seconds(error.delay_seconds, self._rate_waits - 1, chance)
        self._paused_until = max(self._paused_until, now + wait)
        return self._rate_waits > limits.RATE_LIMIT_WAITS_MOST

    def abandon(self) -> None:
        """Book the calls in flight, whose outcome nobody waits for: the provider may have counted each, or not."""
        self._in_doubt += len(self._in_flight)
        self._in_flight.clear()

    def stalled(self) -> None:
        """Book a claim that ended in an unexpected error, its calls in flight in doubt."""
        self._stalls += not self.finished
        self.abandon()

    # --- what the store is told ---------------------------------------------------------------------------

    def progress(self, starting: Iterable[CallKey], minimum_calls: int, merges: Sequence[MergeLevel] = ()) -> Progress:
        """Say all that is new, and announce the calls about to start: the write after the last one that was saved."""
        tries = tuple(self._tries)
        self._tries.append(len(self._new_outputs))
        return Progress(
            step=self._step + 1,
            outputs=tuple(self._new_outputs),
            tries=tries,
            failures=tuple(self._new_failures.values()),
            merges=merges,
            in_flight=(*self._in_flight, *starting),
            calls_settled=self._settled,
            calls_in_doubt=self._in_doubt,
            calls_minimum=minimum_calls,
            completed=self._completed,
            failed=self._failed,
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            stalls=self._stalls,
            rate_waits=self._rate_waits,
            idle_runs=self.idle_runs,
            finished=self.finished or self.failure is not None,
        )

    def saved(self) -> None:
        """Forget what the store has been told."""
        self._step += 1
        self._new_outputs.clear()
        self._tries.clear()
        self._new_failures.clear()
