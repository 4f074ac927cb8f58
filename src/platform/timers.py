"""Timers of Pyodide's event loop that end when they are cancelled."""

import asyncio
import contextvars
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyodide.webloop import WebLoop

# Below this the loop itself takes the shortest way that its surroundings have.
_SOON_SECONDS = 0.002
# What JavaScript's setTimeout can count, in milliseconds.
_LONGEST_MS = 2**31 - 1


def clear_cancelled_timers() -> None:
    """Have each event loop of Pyodide clear the timers of handles that are cancelled. Other loops do so already.

    Pyodide's loop only marks a handle. After `asyncio.timeout(120)` around a call of 200 ms a timer goes on for 120 s,
    with a Python function that JavaScript holds. A Durable Object stays active, and is paid for, until its last timer
    has ended; elsewhere the function is never called and never freed. See decision 0013.
    """
    if "pyodide.webloop" not in sys.modules:  # Pyodide has it loaded before it runs anything
        return
    from pyodide.webloop import WebLoop

    loops_own = WebLoop.call_later

    def call_later(
        self: "WebLoop",
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        if not _SOON_SECONDS < delay <= _LONGEST_MS / 1000:
            return loops_own(self, delay, callback, *args, context=context)
        return _Timer(self, delay, callback, args, contextvars.copy_context() if context is None else context)

    WebLoop.call_later = call_later  # type: ignore[method-assign]


class _Timer(asyncio.Handle):
    """What `call_later` returns: it holds its timer until that has fired or is cancelled."""

    def __init__(
        self,
        loop: "WebLoop",
        delay: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> None:
        from js import setTimeout
        from pyodide.ffi import create_once_callable

        super().__init__(callback, args, loop, context)
        # A bare timer's callback runs outside of what the loop sets up for its handles, so all it does is make one.
        self._hand_over: Callable[[], asyncio.Handle] = lambda: loop.call_soon(callback, *args, context=context)
        self._handed_over: asyncio.Handle | None = None
        self._function = create_once_callable(self._fire)
        self._timer = setTimeout(self._function, round(delay * 1000))

    def _fire(self) -> None:
        self._handed_over = self._hand_over()

    def cancel(self) -> None:
        """Clear the timer, or take back what it has begun."""
        from js import clearTimeout

        if self.cancelled():
            return
        super().cancel()
        if self._handed_over is not None:
            self._handed_over.cancel()
        else:
            clearTimeout(self._timer)
            self._function.destroy()
