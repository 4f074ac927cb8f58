"""Timers of Pyodide's event loop that end when they are cancelled."""

import asyncio
import contextvars
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyodide.webloop import WebLoop

# The longest time of JavaScript's setTimeout, which counts milliseconds in 31 bits.
LONGEST_SECONDS: Final = (2**31 - 1) / 1000


class Timer(asyncio.Handle):
    """The handle of a timer, which `call_later` returns. Cancelling the handle clears its JavaScript timer.

    A timer lasts whole milliseconds, rounded up, and at least one. On Cloudflare the clock stands still while code
    runs, and only a timer moves it. A `setTimeout` of 0 is a microtask and not a timer, and so is a delay of up to 2 ms
    in Pyodide's own event loop.

    Pyodide's own event loop only marks a cancelled handle, and its JavaScript timer goes on: after
    `asyncio.timeout(120)` around a call of 200 ms, for 120 s. Until a timer ends, JavaScript keeps the timer's Python
    function. A Durable Object stays active, and is paid for, until its last timer has ended. In a Worker the function
    of a timer that outlives its invocation is never called and never freed. See decision 0013.
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
        # The timer's callback runs outside the event loop's handling of callbacks, so it only schedules the real
        # callback.
        self._hand_over: Callable[[], asyncio.Handle] = lambda: loop.call_soon(callback, *args, context=context)
        self._handed_over: asyncio.Handle | None = None
        self._function = create_once_callable(self._fire)
        self._timer = js.setTimeout(self._function, max(1, math.ceil(delay * 1000)))

    def _fire(self) -> None:
        self._handed_over = self._hand_over()

    def cancel(self) -> None:
        """Clear the JavaScript timer. If the timer has fired, cancel the callback that it has scheduled."""
        import js

        if self.cancelled():
            return
        super().cancel()
        if self._handed_over is not None:
            self._handed_over.cancel()
        else:
            js.clearTimeout(self._timer)
            self._function.destroy()
