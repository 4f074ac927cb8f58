"""Whether the database keeps up, as one isolate sees it.

While the database is behind, the isolate refuses new tasks.
"""

from . import limits


class DatabaseLoad:
    """How long the database takes to answer this isolate's calls, and which new tasks may add to its load.

    A call has a known outcome once it was answered, or once it has waited longer than OVERLOAD_SECONDS. The newest call
    with a known outcome decides. So a lost call stops counting as soon as a later call is answered in time.

    All times are seconds of the isolate's steady clock. This class contains plain numbers and nothing that can be
    awaited: the runtime does not let a request wait for another request's objects.
    """

    def __init__(self) -> None:
        self._out: dict[int, float] = {}  # calls without an answer yet: number and start time
        self._calls = 0
        self._kept_up = 0  # The number of the newest call that was answered in time.
        self._fell_behind = 0  # The number of the newest call that was answered late.
        self._probe_at: float | None = None  # The time of the next probe; None while the database keeps up.
        self._probe_follows = -1  # The number of the last call before the newest probe.
        # The time when D1 last refused a write because the day's rows were used up.
        self._used_up_at: float | None = None

    def began(self, now: float) -> int:
        """Record a call that is about to be made, and return its number."""
        self._calls += 1
        self._out[self._calls] = now
        return self._calls

    def ended(self, number: int, now: float, *, answered: bool) -> None:
        """Record the end of a call. A call that its caller gave up early says nothing about the database."""
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
        """Whether the database does not keep up.

        A call without an answer for very long has lost its caller and is dropped.
        """
        self._out = {
            number: began for number, began in self._out.items() if now - began <= limits.OVERLOAD_FORGET_SECONDS
        }
        late = [number for number, began in self._out.items() if now - began > limits.OVERLOAD_SECONDS]
        return max([self._fell_behind, *late]) > self._kept_up

    def refuses(self, now: float) -> bool:
        """Whether to refuse a new task now: the database is behind, and the next probe is not due yet."""
        if not self.is_behind(now):
            self._probe_at = None
            return False
        if self._probe_at is None:
            self._probe_at = now + limits.OVERLOAD_PROBE_SECONDS
        return now < self._probe_at

    def refused_for_the_day(self, now: float) -> None:
        """Record that the database refused a call because the day's allowance is used up."""
        self._used_up_at = now

    def wrote(self) -> None:
        """Record a write that succeeded: the allowance is not used up."""
        self._used_up_at = None

    def has_used_up(self, now: float, seconds_of_day: float) -> bool:
        """Whether the day's allowance is used up, as far as the isolate knows.

        `seconds_of_day` have passed since midnight UTC.
        """
        return self._used_up_at is not None and now - self._used_up_at <= seconds_of_day

    def admits(self, now: float) -> bool:
        """Whether a new task may add to the load, perhaps as a probe.

        A caller that is let through and makes no call says `unprobed`.

        The next probe follows OVERLOAD_PROBE_SECONDS after a late answer, or after the last probe's call was given up.
        """
        if self.refuses(now):
            return False
        if self._probe_at is not None:
            self._probe_at = now + limits.STORE_SECONDS_OF_REQUEST + limits.OVERLOAD_PROBE_SECONDS
            self._probe_follows = self._calls
        return True

    def unprobed(self, now: float) -> None:
        """Let the next task probe if the admitted probe made no call, because its task was refused before."""
        if self._probe_at is not None and self._probe_follows == self._calls:
            self._probe_at = min(self._probe_at, now)
