"""Timers of Pyodide's event loop that end when they are cancelled."""

import asyncio
import contextvars
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyodide.webloop import WebLoop

# The most that JavaScript's setTimeout can count: milliseconds in 31 bits.
LONGEST_SECONDS: Final = (2**31 - 1) / 1000


class Timer(asyncio.Handle):
    """The result of `call_later`: a handle that clears its JavaScript timer when it is cancelled.

    The timer lasts whole milliseconds, rounded up, and at least one. On Cloudflare the clock stands still while code
    runs, and moves in timers. A `setTimeout` of 0 is no timer, nor is a handle of Pyodide's own loop up to 2 ms: both
    are microtasks.

    Pyodide's own loop only marks a cancelled handle and lets its timer run on: after `asyncio.timeout(120)` around a
    call of 200 ms, for 120 s. For this time JavaScript keeps the timer's Python function. A Durable Object stays
    active, and is paid for, until its last timer has ended. Elsewhere the function is never called and never freed. See
    decision 0013.
    """

    def __init__(
        self,
        loop: "WebLoop",
        delay: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context,
    ) -> None:
        import js
        from pyodide.ffi import create_once_callable

        super().__init__(callback, args, loop, context)
        # A bare timer's callback runs outside the loop's setup for handles, so it only creates a handle.
        self._hand_over: Callable[[], asyncio.Handle] = lambda: loop.call_soon(callback, *args, context=context)
        self._handed_over: asyncio.Handle | None = None
        self._function = create_once_callable(self._fire)
        self._timer = js.setTimeout(self._function, max(1, math.ceil(delay * 1000)))

    def _fire(self) -> None:
        self._handed_over = self._hand_over()

    def cancel(self) -> None:
        """Clear the timer, or cancel the handle that it has made."""
        import js

        if self.cancelled():
            return
        super().cancel()
        if self._handed_over is not None:
            self._handed_over.cancel()
        else:
            js.clearTimeout(self._timer)
            self._function.destroy()
