"""How often `?wait=` reads D1 for a client."""

from ...core import limits
from ...core.task import Task

_PATIENT_AFTER_SECONDS = 10.0
_PATIENT_POLL_SECONDS = 1.0
_SPARING_GROWTH = 3.0
_SILENCE_FRACTION = 0.25


def poll_seconds(waited_seconds: float) -> float:
    """Return how long `?wait=` pauses between two reads: twice a second at first, later once a second.

    So a wait of 25 s makes 34 reads, if no host nearby works on the task.
    """
    return limits.WAIT_POLL_SECONDS if waited_seconds < _PATIENT_AFTER_SECONDS else _PATIENT_POLL_SECONDS


def look_seconds(silent_seconds: float, look_took: float) -> float:
    """Return how long a stream of events pauses after a read. `silent_seconds` is the time since the last write.

    A change reaches the client late by at least a quarter of the time it took. A slow database is asked less often:
    each stream takes at most an eleventh of its time, however many streams there are.
    """
    wanted = max(limits.EVENT_LOOK_SECONDS_LEAST, silent_seconds * _SILENCE_FRACTION, look_took * limits.LOOK_LATENCIES)
    return min(limits.EVENT_LOOK_SECONDS_MOST, wanted)


def reads_left(task: Task, reads_after: int) -> int:
    """Return how many reads of a task `?wait=` has left after the first, on the free plan, which allows few.

    `reads_after` further reads follow, of chunks or input. One more read follows if the deadline turns out to have
    passed.
    """
    return limits.WAIT_READS_FREE - 1 - reads_after - (task.deadline_at is not None)


def sparing_seconds(left_seconds: float, reads: int) -> float:
    """Return the pause before the next of `reads` reads. The last read comes at the end of the wait.

    Each pause is thrice the one before. A wait of 25 s with four reads makes them after 0.6, 2.5, 8.1 and 25 s.
    """
    pause = left_seconds * (_SPARING_GROWTH - 1) / (_SPARING_GROWTH**reads - 1)
    return max(pause, limits.WAIT_POLL_SECONDS)
