"""Tracks how large the database is, and whether it has space, as far as one isolate knows.

Each reply of D1 reports the database's size, so an isolate learns it without asking.

From STORAGE_MB_MOST on the database is *tight*. While the database is tight, the Worker refuses new tasks, and a worker
announces model calls only in a transaction that has just found space for their outputs. A write that finds no space
makes the database tight at any size, until a transaction has found space for the outputs of calls. An isolate whose
workers announce no calls would never notice that the database has space again. Therefore the isolate forgets after
STORAGE_REST_SECONDS that a write found no space, or earlier when a new task has found space; this applies only to the
acceptance of new tasks.
"""

import math

from . import limits

MB = 1_000_000


class StorageUse:
    """The size of the database and whether it has space, as far as one isolate knows.

    `size` is the database's size in bytes, 0 before the first reply of D1. Times in `StorageUse` are seconds of a
    steady clock.
    """

    def __init__(self) -> None:
        self.size = 0
        self.measured_at = -math.inf
        self._found_full = False
        self._refused_at = -math.inf

    def measured(self, size: int, now: float) -> None:
        """Record the size of the database that a reply of D1 reported."""
        self.size = size
        self.measured_at = now

    def found_full(self, now: float) -> None:
        """Record that a write to the database found no space in it."""
        self._found_full = True
        self._refused_at = now

    def found_room(self) -> None:
        """Record that a transaction found space in the database for the outputs of calls."""
        self._found_full = False
        self.took_task()

    def took_task(self) -> None:
        """Record that the database had space for a new task.

        The outputs of the new task's calls may still find no space.
        """
        self._refused_at = -math.inf

    def is_over(self, most: int) -> bool:
        """Whether the database had at least `most` bytes, according to the last reply of D1."""
        return self.size >= most

    def is_tight(self, most: int) -> bool:
        """Whether a model call may start only after a check that the database has space for its output."""
        return self._found_full or self.is_over(most)

    def refuses(self, most: int, now: float) -> bool:
        """Whether the Worker must refuse new tasks, because the database seems to have no space for them."""
        return self.is_over(most) or now - self._refused_at < limits.STORAGE_REST_SECONDS
