"""What becomes of a run's failed calls: how often each was tried, whether a failure counts, how long the call waits.

Pure: times are seconds on the run's clock, and jitter is passed in.
"""

from collections.abc import Collection
from typing import NamedTuple

from ...core.errors import ModelError, ModelRefused, ModelReplyMalformed
from ...core.failures import Verdict, judge
from ...core.patience import Patience
from ...core.task import Failure
from ...store.claims import CallKey, Claim, FailedCall, Tried, chunk_number
from .held_failures import Suspense


class Next(NamedTuple):
    """A call that failed, and when it may be made again. `rests`: the task's next run keeps to that, too.

    `held` is when it started and failed, if the next run may find out whether that counts.
    """

    failed: FailedCall
    at: float
    rests: bool = False
    held: tuple[float, float] | None = None


class Trials:
    """The failures of one claim's calls, those of earlier claims included."""

    def __init__(self, claim: Claim, max_attempts: int, patience: Patience, now: float) -> None:
        self._task_key = claim.task_key
        self._max_attempts = max_attempts
        self._patience = patience
        self._suspense = Suspense()
        self._tried = dict(claim.tried)
        for key in claim.doubted - claim.outputs:
            self._tried[key] = self.tried(key).after(0)
        for failed in claim.held:  # the claim brings what others have told since
            started_at, failed_at = (now + (at - claim.claimed_ms) / 1000 for at in failed.held or ())
            self._suspense.hold(failed._replace(held=None), started_at, failed_at, 0.5)
        self.asked()

    def tried(self, key: CallKey) -> Tried:
        """Return how often a call was tried."""
        return self._tried.get(key, Tried())

    def was_tried(self, key: CallKey) -> bool:
        """Whether a call for this output has failed, or is in doubt, under this claim or an earlier one."""
        return key in self._tried

    def succeeded(self, key: CallKey, now: float) -> None:
        """Take note of a success."""
        self._suspense.drop(key)
        self._patience.succeeded(self._number(key), now)

    def limited(self, key: CallKey, failure: Failure, *, final: bool) -> FailedCall:
        """Take note of a 429, which costs no attempt."""
        self._patience.answered(None, 0.0)
        self._tried[key] = tried = self.tried(key).after(0)
        return FailedCall(key, tried, final, failure)

    def failed(
        self, key: CallKey, error: ModelError, failure: Failure, started_at: float, now: float, chance: float
    ) -> Next:
        """Judge a failure, and say when the call is made again."""
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
        final = not error.retryable or isinstance(error, ModelRefused) or verdict.final
        final = final or (of_service and patience.over(now))
        self._tried[key] = tried = Tried(verdict.attempts, calls, verdict.counted)
        failed = FailedCall(key, tried, final, failure)
        if own:
            self._suspense.drop(key)
        if final or own or not of_service or not patience.lasts:
            return Next(failed, now + verdict.wait, rests=True)
        # The trouble may be that of all calls. It may also turn out to be the chunk's, if another one succeeds now.
        if patience.there_at > started_at:
            return Next(failed, now + verdict.wait)
        self._suspense.hold(failed, started_at, now, chance)
        return Next(failed, now + verdict.wait, held=(started_at, now))

    def settle(self, now: float, out: Collection[CallKey]) -> list[Next]:
        """Judge the failures after which another call has succeeded, and return those that count after all.

        A call that is `out` again is judged by how it ends.
        """
        counted = []
        for held in self._suspense.take(self._patience.there_at, out):
            key = held.failed.key
            if self._patience.counts(self._number(key), held.started_at, now):
                calls = held.failed.tried.calls
                verdict = self._verdict(key, calls, of_service=True, own=True, chance=held.chance)
                self._tried[key] = tried = Tried(verdict.attempts, calls, verdict.counted)
                failed = FailedCall(key, tried, verdict.final, held.failed.failure)
                counted.append(Next(failed, held.failed_at + verdict.wait, rests=True))
        return counted

    def in_question(self, keys: Collection[CallKey]) -> bool:
        """Whether other isolates may know if a failure of one of these calls counts, and were not asked."""
        return self._suspense.open(keys)

    def asked(self) -> None:
        """Take note that other isolates were asked, whatever they knew."""
        self._suspense.asked()

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
