"""Imitates the turns of Cloudflare's runtime: an event and its microtasks, under a clock that stands still.

Cloudflare's clock moves when an event arrives. In a timer's callback the clock shows exactly the millisecond for which
the timer was set. `call_soon` and a delay of 0 are microtasks: they run before the next event, so they do not move the
clock. On Pyodide's own loop a delay of up to 2 ms is a microtask, too. Code that waits in microtasks until
the clock shows a later time never ends.
"""

import asyncio
import math
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

from simulator.engine.fault_plan import FaultPlan
from simulator.engine.scope import Handle

SHORT_SECONDS = 0.002  # For delays of up to this many seconds Pyodide's own loop uses no timer.
HANDLES_MOST = 10_000  # The most handles in one turn; in 400 sound schedules the longest turn has 14.
SUSPECTS = 100  # How many of the last handles a livelock's message considers.
_ROUNDING = 1e-6  # A time that is at most this many ms below a whole number counts as that number.


class StandingTimer(Handle):
    """A timer of an isolate whose clock stands still. In the callback of such a timer the clock shows `due_ms`."""

    __slots__ = ("due_ms",)

    due_ms: int


class StandingClock:
    """The clock of one isolate, which moves when a turn begins, and stands still until the next turn.

    The clock counts whole milliseconds since the epoch, as `performance.now()` does on Workers. On the way to Python
    these milliseconds become nanoseconds and then seconds, rounded each time. In a timer's callback the clock may
    therefore show 0.24 microseconds less than the time for which the timer was set.

    Timers last whole milliseconds. The event loop of the Worker itself rounds a delay up. Pyodide's loop (`stock`)
    leaves the delay to JavaScript, which cuts off the fraction of a millisecond.
    """

    __slots__ = ("_epoch_ms", "_gained", "_read_ms", "_stock", "ms")

    def __init__(self, epoch_ms: int, now_seconds: float, *, stock: bool) -> None:
        self.ms = int(now_seconds * 1000)  # The clock's reading: whole milliseconds since the loop began.
        self._epoch_ms = epoch_ms
        self._stock = stock
        self._read_ms = self._gained = 0

    def begin_turn(self, first: Handle, now_seconds: float) -> None:
        """Set the clock for a turn that begins with the handle `first`.

        If the handle is a late timer, the clock shows when the timer was due, and not how late it is.
        """
        at = first.due_ms if type(first) is StandingTimer else int(now_seconds * 1000 + _ROUNDING)
        self.ms = max(self.ms, at)

    def seconds(self) -> float:
        """Return the value of the event loop's `time()`."""
        return float((self._epoch_ms + self.ms) * 1_000_000) / 1e9

    def date_ms(self, skew_ms: float) -> int:
        """Return the time of Python's `time.time()` in milliseconds: one more at each further read in a moment.

        The method imitates `monotonicDateNow` of Cloudflare's glue code. The additional milliseconds are dropped when
        the isolate's clock moves.
        """
        now = int(self._epoch_ms + self.ms + skew_ms)
        if now == self._read_ms:
            self._gained += 1
        else:
            self._read_ms, self._gained = now, 0
        return now + self._gained

    def due_ms(self, delay: float) -> int | None:
        """Return when a timer of `delay` seconds is due.

        Returns None if the delay is a microtask instead of a timer.
        """
        if delay <= (SHORT_SECONDS if self._stock else 0):
            return None
        return self.ms + (int(delay * 1000) if self._stock else math.ceil(delay * 1000))


class Turns:
    """How code takes turns in one world: by the faults of the fault plan that imitate Cloudflare's runtime.

    The draws of the faults that imitate Cloudflare's runtime come from a separate random stream. The faults that
    imitate Cloudflare's runtime do not stop when other faults stop, because the runtime always behaves like this.
    """

    def __init__(self, faults: FaultPlan, rng: Random) -> None:
        self._faults = faults
        self._random = rng.random

    def has(self, name: str, actor: str = "") -> bool:
        """Offer a fault that imitates Cloudflare's runtime, and return whether it strikes."""
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
        """Choose the index of the next of `count` microtasks of a turn: mostly 0, the oldest."""
        if count > 1 and self.has("handle_overtaken"):
            return 1 + int(self._random() * (count - 1))
        return 0


def named(handles: Iterable[Handle]) -> str:
    """Return the names of up to five tasks to which these handles belong, each with the coroutine where it waits."""
    owners = dict.fromkeys(getattr(handle.callback, "__self__", None) for handle in handles)
    tasks = [owner for owner in owners if isinstance(owner, asyncio.Task)]
    return "; ".join(f"{task.get_name()} in {_place(task.get_coro())}" for task in tasks[:5]) or "no task"


def _place(coroutine: Any) -> str:
    """Return the names of a coroutine and of the coroutines that it awaits, and the innermost line outside asyncio."""
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
