"""Turns as the hosted runtime takes them: an event and its microtasks, under a clock that stands still.

Cloudflare's clock moves when an event arrives. In a timer's callback the clock shows exactly the millisecond for which
the timer was set. `call_soon` and a delay of 0 are microtasks: they run before the next event, so they do not move the
clock. On Pyodide's own loop a delay of up to 2 ms is a microtask, too. Code that waits "until the clock says T" in such
steps never ends.
"""

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from simulator.engine.fault_plan import FaultPlan
from simulator.engine.scope import Handle

SHORT_SECONDS = 0.002  # Pyodide's own loop uses no timer for delays up to this.
HANDLES_MOST = 10_000  # The limit of handles in one turn; of 400 sound schedules the longest turn has 14.
SUSPECTS = 100  # The number of handles that the report names when a turn does not end.
_ROUNDING = 1e-6  # This part of a millisecond makes a double just below a whole number count as that number.


class StandingTimer(Handle):
    """A timer set by an isolate with a standing clock. The timer's callback finds the clock at `due_ms`."""

    __slots__ = ("due_ms",)

    due_ms: int


class StandingClock:
    """The clock of one isolate. This clock moves when a turn begins, and stands still until the next turn.

    Like `performance.now()` on Workers it counts whole milliseconds from the epoch. On the way to Python these
    milliseconds become nanoseconds and then seconds, rounded each time. So after a timer the clock may be 0.24
    microseconds short of the moment for which the timer was set.

    Timers last whole milliseconds. The Worker's loop rounds delays up. Pyodide's own loop (`stock`) leaves the delay to
    JavaScript, which cuts off the fraction.
    """

    __slots__ = ("_epoch_ms", "_gained", "_read_ms", "_stock", "ms")

    def __init__(self, epoch_ms: int, now_seconds: float, *, stock: bool) -> None:
        self.ms = int(now_seconds * 1000)  # since the loop began
        self._epoch_ms = epoch_ms
        self._stock = stock
        self._read_ms = self._gained = 0

    def begin_turn(self, first: Handle, now_seconds: float) -> None:
        """Set the clock for a turn that begins with this handle. A late timer does not show how late it is."""
        at = first.due_ms if type(first) is StandingTimer else int(now_seconds * 1000 + _ROUNDING)
        self.ms = max(self.ms, at)

    def seconds(self) -> float:
        """Return the value of the event loop's `time()`."""
        return float((self._epoch_ms + self.ms) * 1_000_000) / 1e9

    def date_ms(self, skew_ms: float) -> int:
        """Return the value of Python's `time.time()`: it gains a millisecond at each further read within a moment.

        The method imitates `monotonicDateNow` of Cloudflare's glue. The next moment removes the gain.
        """
        now = int(self._epoch_ms + self.ms + skew_ms)
        if now == self._read_ms:
            self._gained += 1
        else:
            self._read_ms, self._gained = now, 0
        return now + self._gained

    def due_ms(self, delay: float) -> int | None:
        """Return when a timer of this many seconds is due. Returns None if the delay is no timer but a microtask."""
        if delay <= (SHORT_SECONDS if self._stock else 0):
            return None
        return self.ms + (int(delay * 1000) if self._stock else math.ceil(delay * 1000))


class Turns:
    """The behaviour of the hosted runtime in one world, by its fault plan.

    The draws of the hosted runtime's faults come from a separate random stream.

    The behaviour does not stop when faults stop, since the platform always behaves like this.
    """

    def __init__(self, faults: FaultPlan, rng: Random) -> None:
        self._faults = faults
        self._random = rng.random

    def has(self, name: str, actor: str = "") -> bool:
        """Offer a fault of the hosted runtime; True when it strikes."""
        tally = self._faults.tallies[name]
        tally.offered += 1
        if tally.rate == 0.0 or (tally.rate < 1.0 and self._random() >= tally.rate):
            return False
        return self._faults.strike(name, actor)

    def clock(self, name: str, epoch_ms: int, now_seconds: float) -> StandingClock | None:
        """Return the clock of a new isolate.

        Returns None if the isolate uses the world's clock, which is exact at any time.
        """
        if not self.has("clock_standing", name):
            return None
        return StandingClock(epoch_ms, now_seconds, stock=self.has("stock_loop", name))

    def choose(self, count: int) -> int:
        """Choose among this many microtasks of a turn, oldest first."""
        if count > 1 and self.has("handle_overtaken"):
            return 1 + int(self._random() * (count - 1))
        return 0


def named(handles: Iterable[Handle]) -> str:
    """Name the tasks to which these handles belong, each with the coroutine in which it waits."""
    owners = dict.fromkeys(getattr(handle.callback, "__self__", None) for handle in handles)
    tasks = [owner for owner in owners if isinstance(owner, asyncio.Task)]
    return "; ".join(f"{task.get_name()} in {_place(task.get_coro())}" for task in tasks[:5]) or "no task"


def _place(coroutine: Any) -> str:
    """Name a coroutine and those that it awaits, and the innermost line outside asyncio."""
    names, where = [], ""
    while coroutine is not None:
        for kind in ("cr", "ag", "gi"):
            if (frame := getattr(coroutine, f"{kind}_frame", None)) is not None:
                break
        else:
            break
        names.append(frame.f_code.co_qualname)
        path = Path(frame.f_code.co_filename)
        if path.parent.name != "asyncio":
            where = f"{path.name}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
    return f"{' > '.join(names)} ({where})"
