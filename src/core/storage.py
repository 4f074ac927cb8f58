"""How large the database is, according to one isolate.

Each reply of D1 reports the size, so an isolate learns it at no cost.

From STORAGE_MB_MOST on the database is *tight*. While the database is tight, the Worker refuses new tasks, and a worker
announces calls only in a transaction that has just found space for their outputs. A write that finds no space makes the
database tight at any size, until such a transaction has found space. An isolate whose workers announce nothing would
never notice that space is free again. So the status forgets such a write after STORAGE_REST_SECONDS, or earlier when a
new task has found space.
"""

import math

from . import limits

MB = 1_000_000


class StorageUse:
    """The state of the database's space, as one isolate knows it. `size` is in bytes, 0 before the first reply.

    Times are seconds of a steady clock.
    """

    def __init__(self) -> None:
        self.size = 0
        self.measured_at = -math.inf
        self._found_full = False
        self._refused_at = -math.inf

    def measured(self, size: int, now: float) -> None:
        """Record the size that a reply reported."""
        self.size = size
        self.measured_at = now

    def found_full(self, now: float) -> None:
        """Record that a write found no space."""
        self._found_full = True
        self._refused_at = now

    def found_room(self) -> None:
        """Record that a transaction found space for the outputs of calls."""
        self._found_full = False
        self.took_task()

    def took_task(self) -> None:
        """Record that a new task found space. The outputs of this task's calls may still find no space."""
        self._refused_at = -math.inf

    def is_over(self, most: int) -> bool:
        """Whether the database last had `most` bytes or more."""
        return self.size >= most

    def is_tight(self, most: int) -> bool:
        """Whether a call may start only once space for its output is certain."""
        return self._found_full or self.is_over(most)

    def refuses(self, most: int, now: float) -> bool:
        """Whether a new task would find no space, as far as the isolate knows."""
        return self.is_over(most) or now - self._refused_at < limits.STORAGE_REST_SECONDS
