"""Changes Pyodide's event loop: timers advance Cloudflare's clock and end when cancelled; futures are not counted."""

import asyncio
import math
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final

from ..kernel.domain.settings import EVENT_LOOPS
from ..kernel.run.log import Log

if TYPE_CHECKING:
    from pyodide.webloop import WebLoop

Callback = Callable[..., object]
# The longest delay that JavaScript's setTimeout accepts, because it counts milliseconds in 31 bits.
LONGEST_SECONDS: Final = (2**31 - 1) / 1000


class Timer(asyncio.Handle):
    """The handle of a timer; `call_later` returns it. Cancelling the handle also clears its JavaScript timer.

    A timer lasts a whole number of milliseconds, rounded up, and at least one. On Cloudflare the clock stands still
    while code runs, and only a timer advances it. A `setTimeout` of 0 is a microtask and not a timer. In Pyodide's own
    event loop, so is a delay of up to 2 ms.

    Pyodide's own event loop only marks the handle of a cancelled timer: after `asyncio.timeout(120)` around a call of
    200 ms, the JavaScript timer continues for 120 s, and holds its Python function. A Durable Object stays active, and
    costs money, until its last timer has ended. In a Worker, the function of a timer that outlives its invocation is
    never called and never freed. See decision 0013.
    """

    def __init__(
        self, loop: "WebLoop", delay: float, callback: Callback, args: tuple[Any, ...], context: Context
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


class Adaptation:
    """What was changed: `replaced` has the loop's own methods by their names, and `lacks` what Pyodide lacks for it."""

    def __init__(self) -> None:
        self.replaced: dict[str, Callable[..., Any]] = {}
        self.lacks: list[str] = []

    def adapt(self) -> None:
        """Change Pyodide's event loop, unless it lacks an attribute that the change needs.

        Pyodide's own code still runs callbacks that are ready: on Cloudflare as microtasks, in their order, within the
        invocation that made them ready. Futures and tasks are not counted, which would take a callback for each, and
        serves programs that wait until none is left. See docs/decisions/python.md#d0040.
        """
        if "pyodide.webloop" not in sys.modules:  # Pyodide loads `pyodide.webloop` before it runs any code
            return
        from pyodide import ffi, webloop

        of_loop = ("call_soon", "call_later", "create_future", "create_task")
        classes = ("PyodideFuture", "PyodideTask")
        needed = {webloop: classes, webloop.WebLoop: of_loop, ffi: ("create_once_callable",)}
        self.lacks = [name for holder, names in needed.items() for name in names if not hasattr(holder, name)]
        if self.lacks:
            return
        loops_own = webloop.WebLoop.call_later

        def call_later(
            self: "WebLoop", delay: float, callback: Callback, *args: Any, context: Context | None = None
        ) -> asyncio.Handle:
            if not 0 < delay <= LONGEST_SECONDS:
                return loops_own(self, delay, callback, *args, context=context)
            return Timer(self, delay, callback, args, copy_context() if context is None else context)

        def create_future(self: "WebLoop") -> asyncio.Future[Any]:
            return webloop.PyodideFuture(loop=self)

        def create_task(self: "WebLoop", coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
            return webloop.PyodideTask(coro, loop=self, **options)

        for method in (call_later, create_future, create_task):
            self.replaced[method.__name__] = getattr(webloop.WebLoop, method.__name__)
            setattr(webloop.WebLoop, method.__name__, method)

    def settle(self, wanted: str, log: Log) -> None:
        """Undo the change of Pyodide's event loop if EVENT_LOOP says so, and log a loop that is unchanged."""
        if self.lacks:
            log("event_loop_kept", lacks=", ".join(self.lacks))
        elif self.replaced and wanted == EVENT_LOOPS[1]:
            from pyodide.webloop import WebLoop

            while self.replaced:
                setattr(WebLoop, *self.replaced.popitem())
            log("event_loop_kept", wanted=wanted)


# What was changed in this interpreter's only event loop: Python functions, and no JavaScript object.
EVENT_LOOP = Adaptation()
