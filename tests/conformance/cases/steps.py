"""What workers report in tests and stories: progress, outputs and failed calls."""

from itertools import count
from typing import Any

from src.kernel.domain.codes import TaskCode
from src.kernel.domain.task import Failure
from src.kernel.store.claims import CallKey, Claim, FailedCall, Output, Progress, Tries

FAILURE = Failure(TaskCode.MODEL_REFUSED, "401", retryable=False)
# The numbers of a worker's writes; each is higher than the previous number.
_STEPS = count(1)


def progress(claim: Claim, **changes: Any) -> Progress:
    """Return a worker's report with the values of its claim, except for `changes`."""
    facts: dict[str, Any] = {
        "step": next(_STEPS),
        "calls_settled": claim.calls_settled,
        "calls_in_doubt": claim.calls_in_doubt,
        "calls_minimum": claim.total,
        "completed": 0,
        "failed": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "stalls": claim.stalls,
        "rate_waits": claim.rate_waits,
    }
    return Progress(**(facts | changes))


def outputs(*positions: int, level: int = 0) -> list[Output]:
    """Return outputs at the given positions, each of one call."""
    return [Output(CallKey(level, position), f"output {position}", 1) for position in positions]


def failures(*positions: int, final: bool = False) -> list[FailedCall]:
    """Return failed calls for the given chunks, with two calls each, of which one failure counts."""
    return [FailedCall(CallKey(0, position), Tries(1, 2), final, FAILURE) for position in positions]
