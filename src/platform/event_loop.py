"""Pyodide's event loop, made cheaper: what is ready runs in batches, and timers end when they are cancelled."""

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from .timers import LONGEST_SECONDS, Timer

if TYPE_CHECKING:
    from pyodide.webloop import WebLoop

# A batch that has grown to this is of code that never waits. The rest gets timers, which let other events in between.
_BATCH_MOST: Final = 1_000


def adapt_event_loop() -> None:
    """Change Pyodide's event loop in this interpreter. Other loops need none of it and are left alone.

    Pyodide gives each handle a timer of its own and a stack that can be switched. Five handles of six wait for nothing
    but their turn, and a timer was the dearest part of most: see docs/decisions/0038-few-crossings.md.
    """
    if "pyodide.webloop" not in sys.modules:  # Pyodide has it loaded before it runs anything
        return
    from pyodide.webloop import PyodideFuture, WebLoop

    loops_own = WebLoop.call_later
    ready = Ready(loops_own)

    def call_soon(
        self: "WebLoop", callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return ready.add(self, asyncio.Handle(callback, args, self, context))

    def call_later(
        self: "WebLoop",
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        if delay == 0:
            return call_soon(self, callback, *args, context=context)
        if not 0 < delay <= LONGEST_SECONDS:
            return loops_own(self, delay, callback, *args, context=context)
        return Timer(self, delay, callback, args, contextvars.copy_context() if context is None else context)

    def create_future(self: "WebLoop") -> "asyncio.Future[Any]":
        return PyodideFuture(loop=self)  # by its `then` the SDK knows that a call of JavaScript gave a promise

    def create_task(self: "WebLoop", coro: Coroutine[Any, Any, Any], **options: Any) -> "asyncio.Task[Any]":
        return asyncio.Task(coro, loop=self, **options)

    # Pyodide's own count what is under way, with a callback of each future and task, for whoever waits until all of an
    # interpreter's work is done. Nobody does here.
    WebLoop.create_future = create_future  # type: ignore[assignment, method-assign]
    WebLoop.create_task = create_task  # type: ignore[assignment, method-assign]
    WebLoop.call_soon = call_soon  # type: ignore[method-assign]
    WebLoop.call_later = call_later  # type: ignore[method-assign]


class Ready:
    """The handles that wait for nothing but their turn.

    They run as one microtask of the JavaScript that runs now. So they stay within the invocation that made them ready:
    workerd goes on to another one only when there are no microtasks left.
    """

    def __init__(self, call_later: Callable[..., object]) -> None:
        self._call_later = call_later
        self._open: _Batch | None = None

    def add(self, loop: "WebLoop", handle: asyncio.Handle) -> asyncio.Handle:
        """Have a handle run after those that are ready already."""
        batch, now = self._open, loop.time()
        # A batch of another moment was done long ago, or the platform ended the code before it came to it: microtasks
        # run before the clock moves on. Whoever waits for such a batch waits forever, so this makes one of its own.
        if batch is None or batch.at != now:
            batch = _Batch(now)
            self._schedule(loop, batch)
            self._open = batch
        batch.handles.append(handle)
        return handle

    def _schedule(self, loop: "WebLoop", batch: "_Batch") -> None:
        import js
        from pyodide.ffi import create_once_callable

        js.queueMicrotask(create_once_callable(lambda: self._run(loop, batch)))

    def _run(self, loop: "WebLoop", batch: "_Batch") -> None:
        handles, done = batch.handles, 0
        try:
            loop._install_running_loop()  # noqa: SLF001 - what its own handles do first
            loop._install_asyncgen_hooks()  # noqa: SLF001
            _leave_dead_task(loop)
            while done < len(handles) and done < _BATCH_MOST:  # it grows meanwhile
                handle = handles[done]
                done += 1
                if not handle.cancelled():
                    handle._run()  # noqa: SLF001 - as each loop does
        finally:
            if self._open is batch:
                self._open = None
            for handle in handles[done:]:
                self._call_later(loop, 0, _run_unless_cancelled, handle)


def _leave_dead_task(loop: "WebLoop") -> None:
    """No task is at work where a microtask begins. One that is was ended by the platform in the middle of a step.

    Without this no other could begin its own: `Cannot enter into task … while another task … is being executed`.
    """
    dead = asyncio.current_task(loop)
    if dead is not None:
        asyncio.tasks._leave_task(loop, dead)  # noqa: SLF001 - what its step would have done at its end


class _Batch:
    """What became ready at one moment of the loop's clock."""

    __slots__ = ("at", "handles")

    def __init__(self, at: float) -> None:
        self.at = at
        self.handles: list[asyncio.Handle] = []


def _run_unless_cancelled(handle: asyncio.Handle) -> None:
    if not handle.cancelled():
        handle._run()  # noqa: SLF001 - as each loop does
