"""How large the database is, as far as an isolate knows: each reply of D1 tells its size, so knowing costs nothing.

From STORAGE_MB_MOST on the database is *tight*: new tasks are refused, and a worker announces calls only in a
transaction that has just found room for what they give. It is tight too, whatever its size, from the moment that a
write found no room until such a transaction has found some. An isolate whose workers announce nothing never learns that
there is room again, so what the status tells of such a write is forgotten after STORAGE_REST_SECONDS, or earlier, when
a new task has found room.
"""

import math

from . import limits

MB = 1_000_000


class Storage:
    """What one isolate knows. `size` is in bytes, 0 before the first reply; times are seconds on a steady clock."""

    def __init__(self) -> None:
        self.size = 0
        self.measured_at = -math.inf
        self._found_full = False
        self._refused_at = -math.inf

    def measured(self, size: int, now: float) -> None:
        """Take note of the size that a reply has told."""
        self.size = size
        self.measured_at = now

    def found_full(self, now: float) -> None:
        """Take note that a write found no room."""
        self._found_full = True
        self._refused_at = now

    def found_room(self) -> None:
        """Take note that room was found for what calls give."""
        self._found_full = False
        self.took_task()

    def took_task(self) -> None:
        """Take note that a new task found room. That says nothing of room for what its calls give."""
        self._refused_at = -math.inf

    def is_over(self, most: int) -> bool:
        """Whether the database was last seen with `most` bytes or more."""
        return self.size >= most

    def is_tight(self, most: int) -> bool:
        """Whether a call may start only once there is sure to be room for its output."""
        return self._found_full or self.is_over(most)

    def refuses(self, most: int, now: float) -> bool:
        """Whether a new task would find no room, as far as is known."""
        return self.is_over(most) or now - self._refused_at < limits.STORAGE_REST_SECONDS
