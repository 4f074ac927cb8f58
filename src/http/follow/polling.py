"""How often a request with `?wait=`, and a stream of events, reads a task in D1."""

from ...core import limits
from ...core.task import Task

_PATIENT_AFTER_SECONDS = 10.0
_PATIENT_POLL_SECONDS = 1.0
_SPARING_GROWTH = 3.0
_SILENCE_FRACTION = 0.25


def poll_seconds(waited_seconds: float, look_took: float) -> float:
    """Return how long `?wait=` pauses between two reads: twice a second at first, later once a second.

    A wait of 25 s makes 34 reads if no host that works on the task can notify the request. As with a stream, the pause
    is at least ten times as long as the last read took, up to WAIT_TOLD_SECONDS: many requests that wait would
    otherwise keep a slow database slow.
    """
    usual = limits.WAIT_POLL_SECONDS if waited_seconds < _PATIENT_AFTER_SECONDS else _PATIENT_POLL_SECONDS
    return max(usual, min(limits.WAIT_TOLD_SECONDS, look_took * limits.LOOK_LATENCIES))


def look_seconds(silent_seconds: float, look_took: float) -> float:
    """Return how long a stream of events pauses after a read of its task.

    The pause is a quarter of `silent_seconds`, the time since the task's last write, within limits: the longer a task
    does not change, the less often it is read. A slow database is asked less often: the pause is at least ten times as
    long as the read took, up to 10 s.
    """
    wanted = max(limits.EVENT_LOOK_SECONDS_LEAST, silent_seconds * _SILENCE_FRACTION, look_took * limits.LOOK_LATENCIES)
    return min(limits.EVENT_LOOK_SECONDS_MOST, wanted)


def reads_left(task: Task, reads_after: int) -> int:
    """Return how many reads of its task a request with `?wait=` has left after the first, on the free plan.

    After the wait, `reads_after` reads of chunks or input follow. One more read is kept back for a task with a
    deadline, because the request reads the task again if the deadline has passed.
    """
    return limits.WAIT_READS_FREE - 1 - reads_after - (task.deadline_at is not None)


def sparing_seconds(left_seconds: float, reads: int) -> float:
    """Return the pause before the next read if `reads` reads are left.

    The last read of the task comes at the end of the request's wait. Each pause between two reads is three times the
    pause before it. With four reads left, a wait of 25 s reads the task after 0.6, 2.5, 8.1 and 25 s.
    """
    pause = left_seconds * (_SPARING_GROWTH - 1) / (_SPARING_GROWTH**reads - 1)
    return max(pause, limits.WAIT_POLL_SECONDS)
