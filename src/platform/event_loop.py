"""Changes the timers of Pyodide's event loop, so that they advance Cloudflare's clock and end when cancelled."""

import contextvars
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..kernel.domain.settings import EVENT_LOOPS
from ..kernel.run.log import Log
from .timers import LONGEST_SECONDS, Timer

if TYPE_CHECKING:
    import asyncio

    from pyodide.webloop import WebLoop

CallLater = Callable[..., "asyncio.Handle"]


class Adaptation:
    """What was changed: the loop's `call_later`; `replaced` is the original. `lacks`: what Pyodide lacks for it."""

    def __init__(self) -> None:
        self.replaced: CallLater | None = None
        self.lacks: list[str] = []

    def adapt(self) -> None:
        """Change Pyodide's event loop, unless it lacks an attribute that the change needs.

        The event loops of other interpreters than Pyodide are not changed. Callbacks that are ready are still run by
        Pyodide's own code. On Cloudflare, callbacks that are ready run as microtasks, in their order, within the
        invocation that made them ready. See docs/decisions/python.md#d0040.
        """
        if "pyodide.webloop" not in sys.modules:  # Pyodide loads `pyodide.webloop` before it runs any code
            return
        import pyodide.ffi
        from pyodide.webloop import WebLoop

        needed = ((WebLoop, "call_soon"), (WebLoop, "call_later"), (pyodide.ffi, "create_once_callable"))
        self.lacks = [name for holder, name in needed if not hasattr(holder, name)]
        if self.lacks:
            return
        self.replaced = loops_own = WebLoop.call_later

        def call_later(
            self: "WebLoop",
            delay: float,
            callback: Callable[..., object],
            *args: Any,
            context: contextvars.Context | None = None,
        ) -> "asyncio.Handle":
            if not 0 < delay <= LONGEST_SECONDS:
                return loops_own(self, delay, callback, *args, context=context)
            return Timer(self, delay, callback, args, contextvars.copy_context() if context is None else context)

        WebLoop.call_later = call_later  # type: ignore[method-assign]

    def settle(self, wanted: str, log: Log) -> None:
        """Undo the change of Pyodide's event loop if EVENT_LOOP says so, and log a loop that is unchanged."""
        if self.lacks:
            log("event_loop_kept", lacks=", ".join(self.lacks))
        elif self.replaced is not None and wanted == EVENT_LOOPS[1]:
            from pyodide.webloop import WebLoop

            WebLoop.call_later, self.replaced = self.replaced, None  # type: ignore[method-assign]
            log("event_loop_kept", wanted=wanted)


# What was changed in this interpreter's only event loop: Python functions, and no JavaScript object.
EVENT_LOOP = Adaptation()
