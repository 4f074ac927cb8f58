"""Whether the database keeps up, as one isolate sees it: new tasks are refused while it does not."""

from . import limits


class DatabaseLoad:
    """How long the database takes to answer this isolate's calls, and who may add to them.

    The latest call decides of which it is known whether its answer took longer than OVERLOAD_SECONDS. Of a call that
    has been out for longer than that it is known, too. So one lost call says nothing once a later one was answered.

    All times are seconds of the isolate's steady clock. There are numbers here and nothing that can be awaited: the
    runtime lets no request wait for what belongs to another.
    """

    def __init__(self) -> None:
        self._out: dict[int, float] = {}  # calls that are out, and when each began
        self._calls = 0
        self._kept_up = 0  # the number of the latest call whose answer came in time
        self._fell_behind = 0  # the same of those whose answer did not
        self._probe_at: float | None = None  # None while the database keeps up
        self._probe_follows = -1  # the number of the call before the last probe's
        self._used_up_at: float | None = None  # when a write was last refused since the day's rows are used up

    def began(self, now: float) -> int:
        """Note a call that is about to be made, and return its number."""
        self._calls += 1
        self._out[self._calls] = now
        return self._calls

    def ended(self, number: int, now: float, *, answered: bool) -> None:
        """Note the end of a call. One that was taken back before the bound says nothing of the database."""
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
        """Whether the database does not keep up. A call of which nothing is heard for very long has lost its caller."""
        self._out = {
            number: began for number, began in self._out.items() if now - began <= limits.OVERLOAD_FORGET_SECONDS
        }
        late = [number for number, began in self._out.items() if now - began > limits.OVERLOAD_SECONDS]
        return max([self._fell_behind, *late]) > self._kept_up

    def refuses(self, now: float) -> bool:
        """Whether a new task is refused now: the database is behind, and it is not yet time to probe it."""
        if not self.is_behind(now):
            self._probe_at = None
            return False
        if self._probe_at is None:
            self._probe_at = now + limits.OVERLOAD_PROBE_SECONDS
        return now < self._probe_at

    def refused_for_the_day(self, now: float) -> None:
        """Take note that a call was refused, since the day's allowance is used up."""
        self._used_up_at = now

    def wrote(self) -> None:
        """Take note of a write: there is an allowance."""
        self._used_up_at = None

    def has_used_up(self, now: float, seconds_of_day: float) -> bool:
        """Whether the allowance of the day, of which so many seconds have passed, is used up as far as is known."""
        return self._used_up_at is not None and now - self._used_up_at <= seconds_of_day

    def admits(self, now: float) -> bool:
        """Whether a new task may add to the load, as a probe maybe. Who makes no call then says `unprobed`.

        The next probe comes OVERLOAD_PROBE_SECONDS after a late answer, or after the last probe's call was given up.
        """
        if self.refuses(now):
            return False
        if self._probe_at is not None:
            self._probe_at = now + limits.STORE_SECONDS_OF_REQUEST + limits.OVERLOAD_PROBE_SECONDS
            self._probe_follows = self._calls
        return True

    def unprobed(self, now: float) -> None:
        """Let the next one probe if no call was made since a probe was admitted: it was refused without one."""
        if self._probe_at is not None and self._probe_follows == self._calls:
            self._probe_at = min(self._probe_at, now)
