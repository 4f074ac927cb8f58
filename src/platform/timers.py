"""Timers of Pyodide's event loop that end when they are cancelled."""

import asyncio
import contextvars
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pyodide.webloop import WebLoop

# The longest delay that JavaScript's setTimeout accepts, because it counts milliseconds in 31 bits.
LONGEST_SECONDS: Final = (2**31 - 1) / 1000


class Timer(asyncio.Handle):
    """The handle of a timer; `call_later` returns it. Cancelling the handle also clears its JavaScript timer.

    A timer lasts a whole number of milliseconds, rounded up, and at least one. On Cloudflare the clock stands still
    while code runs, and only a timer advances it. A `setTimeout` of 0 is a microtask and not a timer. In Pyodide's own
    event loop, so is a delay of up to 2 ms.

    Pyodide's own event loop only marks the handle of a cancelled timer, and the JavaScript timer continues: after
    `asyncio.timeout(120)` around a call of 200 ms, it continues for 120 s. JavaScript holds the Python function of a
    timer until the timer ends. A Durable Object stays active, and costs money, until its last timer has ended. In a
    Worker, if a timer outlives its invocation, the timer's function is never called and never freed. See decision 0013.
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
        # The timer's function runs outside the event loop's handling, so it only schedules the callback.
        self._hand_over: Callable[[], asyncio.Handle] = lambda: loop.call_soon(callback, *args, context=context)
        self._handed_over: asyncio.Handle | None = None
        self._function = create_once_callable(self._fire)
        self._timer = js.setTimeout(self._function, max(1, math.ceil(delay * 1000)))

    def _fire(self) -> None:
        self._handed_over = self._hand_over()

    def cancel(self) -> None:
        """Clear the JavaScript timer, or cancel the callback that it has scheduled if it has fired."""
        import js

        if self.cancelled():
            return
        super().cancel()
        if self._handed_over is not None:
            self._handed_over.cancel()
        else:
            js.clearTimeout(self._timer)
            self._function.destroy()
