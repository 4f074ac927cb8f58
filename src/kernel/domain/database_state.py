"""What an isolate knows of the database: whether it keeps up with the calls, how large it is, whether it has space.

Each reply of D1 reports the database's size. From STORAGE_MB_MOST on the database is *tight*: the Worker refuses new
tasks, and a worker announces model calls only in a transaction that has just found space for their outputs. A write
that finds no space makes the database tight at any size, until a transaction has found space for the outputs of calls.
An isolate whose workers announce no calls would never notice that, so it accepts new tasks again after
STORAGE_PAUSE_SECONDS, or earlier when a new task has found space.
"""

import math

from . import limits


class DatabaseLoad:
    """Tracks how long the database takes to answer this isolate's calls, and decides which new tasks to accept.

    The newest call with a known outcome decides: one that was answered, or that has waited longer than
    OVERLOAD_SECONDS. A call whose answer was lost stops counting as soon as a later one is answered in time. Times are
    seconds of the isolate's steady clock. Only plain numbers are kept: a request must not await another request's
    objects.
    """

    def __init__(self) -> None:
        self._out: dict[int, float] = {}  # The start times of the calls without an answer yet, by their numbers.
        self._calls = 0
        self._kept_up = 0  # The number of the newest database call that was answered in time.
        self._fell_behind = 0  # The number of the newest database call that ended late.
        # When the next new task may be accepted as a probe; None if the database keeps up.
        self._probe_at: float | None = None
        self._probe_follows = -1  # The number of the last database call before the newest probe.
        # The time when D1 last refused a write because the day's rows were used up.
        self._used_up_at: float | None = None

    def began(self, now: float) -> int:
        """Record a database call that is about to be made, and return its number."""
        self._calls += 1
        self._out[self._calls] = now
        return self._calls

    def ended(self, number: int, now: float, *, answered: bool) -> None:
        """Record the end of a database call. A database call that its caller gave up early is ignored."""
        began = self._out.pop(number, None)
        if began is None:
            return
        if now - began > limits.OVERLOAD_SECONDS:
            self._fell_behind = max(self._fell_behind, number)
            if self._probe_at is not None:
                self._probe_at = min(self._probe_at, now + limits.OVERLOAD_PROBE_SECONDS)
        elif answered:
            self._kept_up = max(self._kept_up, number)

    def is_behind(self, now: float) -> bool:
        """Whether the database is behind. A call older than OVERLOAD_FORGET_SECONDS has no caller any more."""
        self._out = {
            number: began for number, began in self._out.items() if now - began <= limits.OVERLOAD_FORGET_SECONDS
        }
        late = [number for number, began in self._out.items() if now - began > limits.OVERLOAD_SECONDS]
        return max([self._fell_behind, *late]) > self._kept_up

    def refuses(self, now: float) -> bool:
        """Whether to refuse a new task now: the database does not keep up, and it is too early for the next probe."""
        if not self.is_behind(now):
            self._probe_at = None
            return False
        if self._probe_at is None:
            self._probe_at = now + limits.OVERLOAD_PROBE_SECONDS
        return now < self._probe_at

    def refused_for_the_day(self, now: float) -> None:
        """Record that the database refused a call because the day's allowance of rows is used up."""
        self._used_up_at = now

    def wrote(self) -> None:
        """Record a successful write, which shows that the day's allowance of rows is not used up."""
        self._used_up_at = None

    def has_used_up(self, now: float, seconds_of_day: float) -> bool:
        """Whether the day's rows are used up, as far as is known. `seconds_of_day` counts since midnight UTC."""
        return self._used_up_at is not None and now - self._used_up_at <= seconds_of_day

    def admits(self, now: float) -> bool:
        """Whether to accept a new task now, perhaps as a probe of whether the database keeps up again.

        A probe is accepted OVERLOAD_PROBE_SECONDS after a late answer, or after the call of the last probe was given
        up. A caller that then makes no call to the database must call `unprobed`.
        """
        if self.refuses(now):
            return False
        if self._probe_at is not None:
            self._probe_at = now + limits.STORE_SECONDS_OF_REQUEST + limits.OVERLOAD_PROBE_SECONDS
            self._probe_follows = self._calls
        return True

    def unprobed(self, now: float) -> None:
        """Let the next new task be the probe, because the accepted task was refused before it called the database."""
        if self._probe_at is not None and self._probe_follows == self._calls:
            self._probe_at = min(self._probe_at, now)


MB = 1_000_000


class StorageUse:
    """The database's size in bytes (0 at first) and space, as far as an isolate knows, by a steady clock."""

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
        """Record that there was space for a new task. The outputs of its calls may still find none."""
        self._refused_at = -math.inf

    def is_over(self, most: int) -> bool:
        """Whether the database had at least `most` bytes, according to the last reply of D1."""
        return self.size >= most

    def is_tight(self, most: int) -> bool:
        """Whether a model call may start only after a check that the database has space for its output."""
        return self._found_full or self.is_over(most)

    def refuses(self, most: int, now: float) -> bool:
        """Whether the Worker must refuse new tasks, because the database seems to have no space for them."""
        return self.is_over(most) or now - self._refused_at < limits.STORAGE_PAUSE_SECONDS
