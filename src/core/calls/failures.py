"""The rule of failures: whether a failed call is its chunk's fault or the service's, and what follows. Pure.

The service is in trouble when other chunks fail too. The chunk is at fault when the same model answers the tenant's
other chunks. A failure counts against the chunk only if the chunk is at fault. See decision 0042.
"""

from collections.abc import Iterable
from typing import NamedTuple

from .. import limits
from .latest_calls import LatestCall, others
from .retry import backoff_seconds


class Verdict(NamedTuple):
    """The consequence of a failed call for its chunk.

    `attempts` and `counted` are the chunk's totals, this call included. `final` says that the chunk gets no further
    call. `wait` is how many seconds the next call waits. If the model is away, the wait may become longer.
    """

    attempts: int
    counted: int
    final: bool
    wait: float


def counts(chunk: int, started_at: float, success_at: float, calls: Iterable[LatestCall], now: float) -> bool:
    """Whether a failure for a cause of the service counts against its chunk.

    `success_at` is when the model last answered a call for another chunk, of any task. `calls` are the latest calls of
    the tenant's chunks with that model.
    """
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
    """Say what follows from a failed call that may be made again.

    `of_service` says that the cause is the service's. `patient`: MODEL_PATIENCE_SECONDS is not 0. `own`: `counts` says
    that the failure counts. `attempts` and `counted` are the chunk's totals before this call, and `calls` includes this
    call.
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
    """Return how long a chunk waits after `counted` counted failures. A sixth of the pause is jitter."""
    pauses = limits.COUNTED_PAUSES_SECONDS
    return pauses[min(counted, len(pauses)) - 1] * (5 + chance) / 6
