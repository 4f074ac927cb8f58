"""Decides whether and when a run's failed calls are made again.

`CallRetries` counts how often each call was tried, and decides whether a failure counts as an attempt and how long the
call waits. The module `call_retries` is pure: times are seconds of the run's clock, and random numbers are passed in.
"""

from collections.abc import Collection
from typing import NamedTuple
from zlib import crc32

from ...core.calls.failures import Verdict, judge
from ...core.calls.patience import Patience
from ...core.errors import ModelError, ModelRefused, ModelReplyMalformed
from ...core.ids import TaskKey
from ...core.task import Failure
from ...store.records.claims import CallKey, CallMade, CallTries, Claim, FailedCall
from ..clock import DatabaseClock


class NextTry(NamedTuple):
    """A failed call, and when it may be made again.

    `ends_task` says that a final failure concerns more than the failed call, so the failure ends the task and leaves no
    gap.
    """

    failed: FailedCall
    at: float
    rests: bool = False  # True if the task's next run must also wait until the time `at`.
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

    After another call's success, all held failures of one call together count as at most one attempt. Even a call that
    fails again and again during an outage of the model loses at most one attempt.
    """

    def __init__(self) -> None:
        self._held: dict[CallKey, HeldFailure] = {}

    def hold(self, failed: FailedCall, started_at: float, failed_at: float, chance: float) -> None:
        """Hold a failure.

        If an earlier failure of the same call is held, the two failures count as one, which began with the earlier one.
        """
        before = self._held.get(failed.key)
        began_at = started_at if before is None else before.started_at
        self._held[failed.key] = HeldFailure(failed, began_at, failed_at, chance)

    def drop(self, key: CallKey) -> None:
        """Forget a call's held failures, because it has succeeded, or because a later failure counts or is final."""
        self._held.pop(key, None)

    def take(self, there_at: float, out: Collection[CallKey]) -> list[HeldFailure]:
        """Take out, to judge them, the failures of calls that started before `there_at`, when another call succeeded.

        If a call is in flight again (`out`), its failures stay held.
        """
        taken = {key: held for key, held in self._held.items() if held.started_at < there_at and key not in out}
        for key in taken:
            del self._held[key]
        return list(taken.values())

    def unasked(self, keys: Collection[CallKey]) -> bool:
        """Whether a given call has a held failure for which the run has not yet read other isolates' calls."""
        return any(not held.asked for key, held in self._held.items() if key in keys)

    def asked(self) -> None:
        """Record that the run has read other isolates' calls."""
        self._held = {key: held._replace(asked=True) for key, held in self._held.items()}


class CallRetries:
    """The failures of a task's calls, under this claim and under earlier claims."""

    def __init__(self, claim: Claim, max_attempts: int, patience: Patience, now: float) -> None:
        self._task_key = claim.task_key
        self._max_attempts = max_attempts
        self._patience = patience
        self._held = HeldFailures()
        self._tried = dict(claim.tried)
        for key in claim.doubted - claim.outputs:
            self._tried[key] = self.tried(key).after(0)
        database_clock = DatabaseClock(claim.claimed_ms, now)
        for failed in claim.held:
            assert failed.held is not None
            started_at, failed_at = map(database_clock.moment, failed.held)
            self._held.hold(failed._replace(held=None), started_at, failed_at, 0.5)
        self.asked()  # together with the claim, the run got the calls that other isolates had written until then

    def tried(self, key: CallKey) -> CallTries:
        """Return how often a call was tried since the last retry of the task, over all claims."""
        return self._tried.get(key, CallTries())

    def was_tried(self, key: CallKey) -> bool:
        """Whether a call for this output has failed or is in doubt, under this claim or an earlier claim."""
        return key in self._tried

    def succeeded(self, key: CallKey, now: float) -> None:
        """Record that a call has succeeded."""
        self._held.drop(key)
        self._patience.succeeded(self._number(key), now)

    def lost(self, key: CallKey) -> CallTries:
        """Record that a call can never be made, and return how often it was tried."""
        self._held.drop(key)
        return self.tried(key)

    def limited(self, key: CallKey, failure: Failure, made: CallMade | None, *, final: bool) -> FailedCall:
        """Record that the provider answered a call with 429, which costs the call no attempt."""
        if final:
            self._held.drop(key)
        self._patience.answered(None, 0.0)
        self._tried[key] = tried = self.tried(key).after(0)
        return FailedCall(key, tried, final, failure, made=_logged(made, tried, failure))

    def rejected(self, key: CallKey, failure: Failure, made: CallMade | None, now: float, *, final: bool) -> FailedCall:
        """Record an answer that does not fit the schema: it costs no attempt, and shows that the model works."""
        self._held.drop(key)
        self._patience.succeeded(self._number(key), now)
        self._tried[key] = tried = self.tried(key).after(0)
        return FailedCall(key, tried, final, failure, made=_logged(made, tried, failure))

    def failed(
        self,
        key: CallKey,
        error: ModelError,
        failure: Failure,
        started_at: float,
        now: float,
        chance: float,
        made: CallMade | None = None,
    ) -> NextTry:
        """Judge a failure, and return when the call is made again.

        The details of the call in `made` are written to the log of the task's calls.
        """
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
        self._tried[key] = tried = CallTries(verdict.attempts, calls, verdict.counted)
        failed = FailedCall(key, tried, final, failure, made=_logged(made, tried, failure))
        if own or final:  # an earlier failure must not make a chunk ready again that has failed for good
            self._held.drop(key)
        if final or own or not of_service or not patience.lasts:
            return NextTry(failed, now + verdict.wait, rests=True, ends_task=ends_task)
        # A failure may be the fault of the model, and then all calls would fail. If another call succeeds after the
        # failure, the failure was the fault of its chunk.
        if patience.there_at > started_at:
            return NextTry(failed, now + verdict.wait)
        self._held.hold(failed._replace(made=None), started_at, now, chance)
        return NextTry(failed, now + verdict.wait, held=(started_at, now))

    def settle(self, now: float, out: Collection[CallKey]) -> list[NextTry]:
        """Judge held failures that are older than another call's success, and return those that count as attempts.

        If a call is in flight again (`out`), it is judged when it ends.
        """
        counted = []
        for held in self._held.take(self._patience.there_at, out):
            key = held.failed.key
            if self._patience.counts(self._number(key), held.started_at, now):
                calls = held.failed.tried.calls
                verdict = self._verdict(key, calls, of_service=True, own=True, chance=held.chance)
                # A call that has a held failure may have failed again, for another reason. Each failure of a call has
                # its own number, so the larger number counts.
                calls = max(calls, self.tried(key).calls)
                self._tried[key] = tried = CallTries(verdict.attempts, calls, verdict.counted)
                failed = held.failed._replace(tried=tried, final=verdict.final)
                counted.append(NextTry(failed, held.failed_at + verdict.wait, rests=True))
        return counted

    def in_question(self, keys: Collection[CallKey]) -> bool:
        """Whether one of the calls has a held failure for which other isolates' calls were not read yet."""
        return self._held.unasked(keys)

    def asked(self) -> None:
        """Note that the run has read other isolates' calls, whatever the result was."""
        self._held.asked()

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
        return chunk_number(self._task_key, key)


def _logged(made: CallMade | None, tried: CallTries, failure: Failure) -> CallMade | None:
    """Add the number and the failure of a failed call to what the log of the task's calls shows of it."""
    return None if made is None else made._replace(number=tried.calls, failure=failure)


def chunk_number(task_key: TaskKey, key: CallKey) -> int:
    """Return a number that identifies a chunk, or a merge, among all chunks and merges of the tenant.

    The number does not reveal the task's id.
    """
    return crc32(f"{task_key}/{key.level}/{key.position}".encode())
