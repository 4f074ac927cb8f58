"""Event loops with a clock like Cloudflare's, which stands still while code runs and moves only with timers."""

import math
from collections.abc import Callable
from contextvars import Context
from typing import Any

from simulator.engine.loop import Loop
from simulator.engine.scope import Handle

HAIR_SECONDS = 2.4e-7  # By so many seconds the clock was seen to be short in a timer's callback on the real runtime.


class HostedLoop(Loop):
    """An event loop in virtual time; code that loops without waiting soon exceeds `max_steps`.

    When a timer's callback runs, the clock shows `hair_seconds` less than the timer's time.

    `stock` chooses Pyodide's own event loop, which uses no timer for 2 ms or less, as JavaScript drops fractions of
    milliseconds. Without `stock`, the loop behaves like the Worker's own event loop (`src.platform.event_loop`), which
    rounds delays up to whole milliseconds, at least one.
    """

    def __init__(self, *, stock: bool, hair_seconds: float = 0.0, max_steps: int = 20_000) -> None:
        super().__init__(max_steps=max_steps)
        self._stock = stock
        self._hair_seconds = hair_seconds

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        milliseconds = delay * 1000
        if milliseconds <= (2 if self._stock else 0):
            return self.call_soon(callback, *args, context=context)
        whole = math.trunc(milliseconds) if self._stock else max(1, math.ceil(milliseconds))
        return super().call_at(self.time() + whole / 1000 - self._hair_seconds, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_later(max(0.0, when - self.time()), callback, *args, context=context)
