"""The terms of a task, which its client sets: a deadline, and a budget of model calls over all attempts."""

import math

from ..core import limits
from ..core.task import BUDGET_EXHAUSTED, DEADLINE_EXCEEDED, Failure
from ..store.records.claims import Claim

OVERDUE = Failure(
    DEADLINE_EXCEEDED, "the task was not finished by its deadline; a retry gives it the same time again", True
)


def exhausted(calls: int) -> Failure:
    """Return the failure of a task that needs more model calls than its budget allows."""
    return Failure(BUDGET_EXHAUSTED, f"the task needs more than the {calls} model calls of its maxModelCalls", False)


class Terms:
    """The deadline and the budget of a task, as one claim of the task sees them.

    Times are seconds of the worker's steady clock. The database's clock decides whether a task's deadline has passed.
    The answer to the claim says how much time was left until the deadline when the database wrote the claim. The
    database wrote the claim between the worker's request and the answer, so the worker knows the earliest and the
    latest moment at which the deadline can be. The worker starts no call after the earliest of these moments, and ends
    the task at the latest of them.
    """

    def __init__(self, claim: Claim, asked_at: float, granted_at: float) -> None:
        left = math.inf if claim.deadline_left_ms is None else claim.deadline_left_ms / 1000
        self._max_calls = claim.options.max_calls
        self._rests_until = granted_at + claim.rest_ms / 1000
        self._deadline_earliest = asked_at + left
        self.deadline_latest = granted_at + left

    def calls_left(self, sent: int) -> float:
        """Return how many more model calls the budget allows after `sent` calls were sent."""
        return math.inf if self._max_calls is None else max(0, self._max_calls - sent)

    def starts_by(self, announcing_at: float, seconds: float) -> float:
        """Return until when calls announced at `announcing_at` may start, if they must start within `seconds`."""
        return min(announcing_at + seconds, self._deadline_earliest)

    def rest_ms(self, now: float) -> int:
        """Return for how many ms the task rests after an unexpected error: as long as after the death of a worker.

        The rest is longer by EARLY_SECONDS_ALLOWED, because the message that continues the task may come a little
        early.
        """
        left = self._rests_until - now
        return round(1000 * (left + limits.EARLY_SECONDS_ALLOWED)) if left > 0 else 0

    def forbids_start(self, now: float) -> bool:
        """Whether the deadline may have passed, so that no call may start."""
        return now >= self._deadline_earliest
