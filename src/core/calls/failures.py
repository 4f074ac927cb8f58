"""Decides whether a failed model call is its chunk's fault or the model service's, and what happens after the failure.

Pure. The model service counts as in trouble when the calls for other chunks fail too. A chunk counts as at fault when
its call fails while the same model answers the tenant's other chunks. A failed call counts against its chunk only if
the chunk is at fault. See decision 0042.
"""

from collections.abc import Iterable
from typing import NamedTuple

from .. import limits
from .latest_calls import LatestCall, others
from .retry import backoff_seconds


class Verdict(NamedTuple):
    """What a failed model call means for its chunk.

    `attempts` and `counted` are the chunk's totals of attempts and of counted failures, the judged call included.
    `final` says that the chunk gets no further call. `wait` is how many seconds the chunk's next call waits; if the
    model is away, that call may wait longer.
    """

    attempts: int
    counted: int
    final: bool
    wait: float


def counts(chunk: int, started_at: float, success_at: float, calls: Iterable[LatestCall], now: float) -> bool:
    """Whether a failed call counts against its chunk, although the error looks like the model service's fault.

    `success_at` is when the model last answered a call for any chunk of any task. `calls` are the latest calls of the
    tenant's chunks to the called model.
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
