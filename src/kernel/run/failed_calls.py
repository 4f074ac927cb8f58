"""Decides what follows a failed call: whether and when it is made again, and whether its chunk becomes a gap. Pure.

Times are seconds of the run's clock, and random numbers are passed in. `CallRetries` counts how often each call was
tried, and decides whether a failure counts as an attempt and how long the call waits.

A chunk that fails through its own fault leaves a gap. One that fails through what may be a fault of the service is
stored in the same way, and is a gap if the task has an output. The last rejected answer to a call, with the number of
rejections, is stored with the call's failures, so that a later claim continues to count: see
docs/decisions/state.md#d0048.
"""

import json
from collections.abc import Collection
from typing import NamedTuple
from zlib import crc32

from ..calls.clock import DatabaseClock
from ..calls.model_health import Patience, Verdict, judge
from ..calls.protocol import ModelReply
from ..domain.codes import TaskCode
from ..domain.errors import ModelError, ModelRefused, ModelReplyMalformed
from ..domain.structure import Rejection, commonest, coverage
from ..domain.task import Failure
from ..store.claims import AttemptEntry, CallKey, Claim, FailedCall, Tries
from ..store.options import AnswerCounts


class Retry(NamedTuple):
    """A failed call, and when it may be made again. `ends_task`: a final failure leaves no gap but ends the task."""

    failed: FailedCall
    at: float
    lasts: bool = False  # True if the task's next run must also wait until the time `at`.
    # When the call started and when it failed; set while it is undecided whether the failure counts as an attempt.
    held: tuple[float, float] | None = None
    ends_task: bool = False


class HeldFailure(NamedTuple):
    """A failed call for which it is undecided whether the call or the model is at fault."""

    failed: FailedCall
    started_at: float
    failed_at: float
    chance: float  # The random number for the jitter of the pause, which is needed if the failure counts.
    asked: bool = False  # True if the run has read other isolates' calls after the failure.


class HeldFailures:
    """Holds the undecided failures of each call until a success of another call shows that the model works.

    All failures that were held of one call count as at most one attempt, however long an outage of the model lasted.
    """

    def __init__(self) -> None:
        self._held: dict[CallKey, HeldFailure] = {}

    def hold(self, failed: FailedCall, started_at: float, failed_at: float, chance: float) -> None:
        """Hold a failure. Two held failures of one call count as one, begun with the earlier."""
        before = self._held.get(failed.key)
        began_at = started_at if before is None else before.started_at
        self._held[failed.key] = HeldFailure(failed, began_at, failed_at, chance)

    def drop(self, key: CallKey) -> None:
        """Forget a call's held failures, because it has succeeded, or because a later failure counts or is final."""
        self._held.pop(key, None)

    def take(self, there_at: float, out: Collection[CallKey]) -> list[HeldFailure]:
        """Take out failures of calls begun before another's success; not of those in flight again (`out`)."""
        taken = {key: held for key, held in self._held.items() if held.started_at < there_at and key not in out}
        for key in taken:
            del self._held[key]
        return list(taken.values())

    def unasked(self, keys: Collection[CallKey]) -> bool:
        """Whether a given call has a held failure for which the run has not yet read other isolates' calls."""
        return any(not held.asked for key, held in self._held.items() if key in keys)

    def asked(self) -> None:
        """Record that the run has read other isolates' calls, whatever the result was."""
        self._held = {key: held._replace(asked=True) for key, held in self._held.items()}


class CallRetries:
    """The failures of a task's calls, under this claim and under earlier claims."""

    def __init__(self, claim: Claim, max_attempts: int, patience: Patience, now: float) -> None:
        self._task_key = claim.task_key
        self._max_attempts = max_attempts
        self._patience = patience
        self.held = HeldFailures()
        self._tried = dict(claim.tried)
        for key in claim.doubted - claim.outputs:
            self._tried[key] = self.tried(key).after(0)
        database_clock = DatabaseClock(claim.claimed_ms, now)
        for failed in claim.held:
            assert failed.held is not None
            started_at, failed_at = map(database_clock.moment, failed.held)
            self.held.hold(failed._replace(held=None), started_at, failed_at, 0.5)
        self.held.asked()  # together with the claim, the run got the calls that other isolates had written until then

    def tried(self, key: CallKey) -> Tries:
        """Return how often a call was tried since the last retry of the task, over all claims."""
        return self._tried.get(key, Tries())

    def was_tried(self, key: CallKey) -> bool:
        """Whether a call for this output has failed or is in doubt, under this claim or an earlier claim."""
        return key in self._tried

    def succeeded(self, key: CallKey, now: float) -> None:
        """Record that a call has succeeded."""
        self.held.drop(key)
        self._patience.succeeded(self._number(key), now)

    def lost(self, key: CallKey) -> Tries:
        """Record that a call can never be made, and return how often it was tried."""
        self.held.drop(key)
        return self.tried(key)

    def limited(self, key: CallKey, failure: Failure, entry: AttemptEntry | None, *, final: bool) -> FailedCall:
        """Record that the provider answered a call with 429, which costs the call no attempt."""
        if final:
            self.held.drop(key)
        self._patience.answered(None, 0.0)
        self._tried[key] = tried = self.tried(key).after(0)
        return FailedCall(key, tried, final, failure, entry=_logged(entry, tried, failure))

    def rejected(
        self, key: CallKey, failure: Failure, entry: AttemptEntry | None, now: float, *, final: bool
    ) -> FailedCall:
        """Record an answer that does not fit the schema: it costs no attempt, and shows that the model works."""
        self.succeeded(key, now)
        self._tried[key] = tried = self.tried(key).after(0)
        return FailedCall(key, tried, final, failure, entry=_logged(entry, tried, failure))

    def failed(
        self,
        key: CallKey,
        error: ModelError,
        failure: Failure,
        started_at: float,
        now: float,
        chance: float,
        entry: AttemptEntry | None = None,
    ) -> Retry:
        """Judge a failure, and return when the call is made again. `entry` goes to the log of calls."""
        patience, of_service = self._patience, error.of_service
        own = of_service and patience.counts(self._number(key), started_at, now)
        if own:
            patience.failed_alone(self._number(key), now)
        elif of_service:
            patience.failed(self._number(key), started_at, now, error.delay_seconds, chance)
        elif error.answered:
            patience.answered(self._number(key) if isinstance(error, ModelReplyMalformed) else None, now)
        calls = self.tried(key).calls + 1
        verdict = self._verdict(key, calls, of_service=of_service, own=own, chance=chance)
        refused = not error.retryable or isinstance(error, ModelRefused)
        over = of_service and patience.over(now)
        final = refused or verdict.final or over
        ends_task = not error.of_call if isinstance(error, ModelRefused) else refused or (over and not verdict.final)
        self._tried[key] = tried = Tries(verdict.attempts, calls, verdict.counted)
        failed = FailedCall(key, tried, final, failure, entry=_logged(entry, tried, failure))
        if own or final:  # an earlier failure must not make a chunk ready again that has failed for good
            self.held.drop(key)
        if final or own or not of_service or not patience.lasts:
            return Retry(failed, now + verdict.wait, lasts=True, ends_task=ends_task)
        # It may be the model's fault, and all calls would fail. After another's success it is its chunk's.
        if patience.there_at > started_at:
            return Retry(failed, now + verdict.wait)
        self.held.hold(failed._replace(entry=None), started_at, now, chance)
        return Retry(failed, now + verdict.wait, held=(started_at, now))

    def settle(self, now: float, out: Collection[CallKey]) -> list[Retry]:
        """Return the failures that count, as another call succeeded later; not those of calls `out` again."""
        counted = []
        for held in self.held.take(self._patience.there_at, out):
            key = held.failed.key
            if self._patience.counts(self._number(key), held.started_at, now):
                calls = held.failed.tried.calls
                verdict = self._verdict(key, calls, of_service=True, own=True, chance=held.chance)
                # A call with a held failure may have failed again: the larger of their numbers counts.
                calls = max(calls, self.tried(key).calls)
                self._tried[key] = tried = Tries(verdict.attempts, calls, verdict.counted)
                failed = held.failed._replace(tried=tried, final=verdict.final)
                counted.append(Retry(failed, held.failed_at + verdict.wait, lasts=True))
        return counted

    def _verdict(self, key: CallKey, calls: int, *, of_service: bool, own: bool, chance: float) -> Verdict:
        before = self.tried(key)
        return judge(
            of_service=of_service,
            patient=self._patience.lasts,
            own=own,
            attempts=before.attempts,
            counted=before.counted,
            calls=calls,
            attempts_most=self._max_attempts,
            chance=chance,
        )

    def _number(self, key: CallKey) -> int:
        """Return a number that names a chunk or merge among all of the tenant, and hides the task's id."""
        return crc32(f"{self._task_key}/{key.level}/{key.position}".encode())


def _logged(entry: AttemptEntry | None, tried: Tries, failure: Failure) -> AttemptEntry | None:
    """Add the number and the failure of a failed call to what the log of the task's calls shows of it."""
    return None if entry is None else entry._replace(number=tried.calls, failure=failure)


class Gaps:
    """The gaps of a task, under this claim and under earlier claims.

    A task without the option `onChunkFailure: gap` has no gaps, unless chunks that fail for good `always` are gaps.
    Then only those of this claim are kept here, and they never make the task fail.
    """

    def __init__(self, claim: Claim, *, always: bool) -> None:
        structure = claim.options.structure
        self._always = always
        self._allowed = always or (structure is not None and structure.gaps)
        self._share_most = 0.0 if structure is None else structure.max_gap_share
        self._total = claim.total
        self._characters = claim.characters
        self._chars = dict(claim.chunk_chars)
        self._found = dict(claim.gaps)
        self._gap_chars = sum(failed.gap_chars or 0 for failed in claim.gaps.values())

    def __contains__(self, key: CallKey) -> bool:
        return key in self._found

    def __len__(self) -> int:
        return len(self._found)

    def measured(self, key: CallKey, chars: int | None) -> None:
        """Note the number of characters of a chunk when one of its calls has ended, if the chunk may leave a gap."""
        if self._allowed and chars is not None:
            self._chars[key] = chars

    def chars(self, key: CallKey) -> int | None:
        """Return the number of characters of a chunk that may leave a gap. The result is None for any other call."""
        if self._always:
            return 0  # the chunk is counted, and its length does not matter
        return self._chars.get(key) if self._allowed and key.level == 0 else None

    def add(self, failed: FailedCall) -> None:
        """Add to the gaps a chunk that failed for good."""
        assert failed.gap_chars is not None
        # The provider's answer is recorded with the failure, and would else take memory until the run ends.
        self._found[failed.key] = failed._replace(provider_answer=None)
        self._gap_chars += failed.gap_chars

    @property
    def coverage(self) -> float | None:
        """The share of the text's characters that is not in gaps; None if the task has no gap."""
        return coverage(self._gap_chars, self._characters) if self._found and not self._always else None

    @property
    def too_many(self) -> bool:
        """Whether the gaps have more characters than the task's `maxGapShare` allows, so that the task must fail."""
        # As floats, 0.29 × 100 is less than 29, so the product is rounded.
        return not self._always and self._gap_chars > round(self._share_most * self._characters, 6)

    def failure(self) -> Failure | None:
        """Return the failure that the gaps cause for the task; None if the task does not fail.

        Too many gaps have a code of their own, even without an output, because it is chance which calls end first. If
        the gaps may be the whole text, and are, the task fails with their most frequent cause.
        """
        if self._always or not self._found or not (self.too_many or len(self._found) == self._total):
            return None
        failures = [failed.failure for _, failed in sorted(self._found.items())]
        code = commonest(failure.code for failure in failures)
        cause = next(failure for failure in failures if failure.code == code)
        if not self.too_many:
            return cause
        share = f"{len(failures)} of {self._total} chunks failed for good, more than maxGapShare of the characters"
        return Failure(TaskCode.TOO_MANY_GAPS, f"{share}; most with {code}: {cause.message}", True)


def provider_answer_of(error: ModelError) -> str | None:
    """Return, as JSON, the answer with which the provider refused a line of a batch for good; None if there is none."""
    if not isinstance(error, ModelRefused) or error.answer is None:
        return None
    status, body = error.answer
    return json.dumps({"status": status, "body": body}, ensure_ascii=False)


class Rejections:
    """The rejected answers of a task, under this claim and earlier claims, and their counts on the task's bill."""

    def __init__(self, claim: Claim, reasks_most: int) -> None:
        self._last = dict(claim.rejections)
        self._reasks_most = reasks_most
        self._reasks, self._rejected, self._repaired, _, self._quotes_not_found = claim.answer_counts

    def of(self, key: CallKey) -> Rejection | None:
        """Return the last rejected answer to a call; None if no answer to the call was rejected."""
        return self._last.get(key)

    def made(self, key: CallKey) -> None:
        """Note that a call for an output has ended. After a rejected answer it counts as a reask."""
        self._reasks += key in self._last

    def accepted(self, key: CallKey, reply: ModelReply) -> None:
        """Note that a call has given an output."""
        self._last.pop(key, None)
        self._repaired += reply.repaired
        self._quotes_not_found += reply.quotes_missed

    def rejected(self, key: CallKey, rejection: Rejection) -> bool:
        """Keep a rejected answer, and return whether the call has failed for good."""
        before = self._last.get(key)
        times = 1 if before is None else before.times + 1
        self._last[key] = Rejection(rejection.answer, rejection.faults, rejection.finish_reason, times)
        self._rejected += 1
        return rejection.final or times > self._reasks_most

    def counts(self, coverage: float | None) -> AnswerCounts:
        """Return the counters for the task's row. `coverage` is the share of the text that is not in gaps."""
        return AnswerCounts(self._reasks, self._rejected, self._repaired, coverage, self._quotes_not_found)
