"""When a client should ask again, and how often `?wait=` asks D1 on its behalf."""

from math import ceil

from ..core import limits
from ..core.task import Task

RETRY_SECONDS_LEAST, RETRY_SECONDS_MOST = 1, 30

# Before anything is known about a model's pace: seconds from one finished call to the next, one at a time.
_CALL_SECONDS_GUESSED = 1.0
# A hint that falls short costs one request more, one that is too long costs the client its time.
_FRACTION_OF_ESTIMATE = 0.5

_PATIENT_AFTER_SECONDS = 10.0
_PATIENT_POLL_SECONDS = 1.0
_SPARING_GROWTH = 3.0


def retry_after_seconds(task: Task, now_ms: int, concurrency: int) -> int:
    """Return the `Retry-After` of a task that goes on: from the work left and the pace so far, 1 to 30 s."""
    left = task.total - task.completed
    if task.started_at is not None and task.completed:
        seconds_each = max(0, now_ms - task.started_at) / 1000 / task.completed
    else:
        seconds_each = _CALL_SECONDS_GUESSED / concurrency
    hint = ceil(left * seconds_each * _FRACTION_OF_ESTIMATE)
    return min(RETRY_SECONDS_MOST, max(RETRY_SECONDS_LEAST, hint))


def poll_seconds(waited_seconds: float) -> float:
    """Return how long `?wait=` pauses between two reads: twice a second, once a second when it takes long.

    A wait of 25 s makes 34 reads this way.
    """
    return limits.WAIT_POLL_SECONDS if waited_seconds < _PATIENT_AFTER_SECONDS else _PATIENT_POLL_SECONDS


def reads_left(task: Task, reads_after: int) -> int:
    """Return how many reads of a task `?wait=` has left on the free plan, where each request has few, after the first.

    `reads_after` is how many follow, of chunks or input. One more follows when its deadline is found to have passed.
    """
    return limits.WAIT_READS_FREE - 1 - reads_after - (task.deadline_at is not None)


def sparing_seconds(left_seconds: float, reads: int) -> float:
    """Return the pause before the next of so many reads, the last of which is at the end: each thrice the one before.

    A wait of 25 s with four reads makes them after 0.6, 2.5, 8.1 and 25 s.
    """
    pause = left_seconds * (_SPARING_GROWTH - 1) / (_SPARING_GROWTH**reads - 1)
    return max(pause, limits.WAIT_POLL_SECONDS)
