"""Runs work after an answer, or after an object's event: `ctx.waitUntil` keeps the invocation alive."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from ..kernel.run.log import Log

if TYPE_CHECKING:
    from js import ExecutionContext


class Background:
    """Implements `composition.WaitUntil` with the context of a Worker or of an object.

    The SDK patches a Worker's context so that it accepts a coroutine. An object's context is not patched, and never
    runs a coroutine. The contexts of Workers and of objects both accept a JavaScript promise, and Python resolves this
    promise at the end of the work. If a context gets a promise instead of a coroutine, JavaScript holds no Python
    object, so no proxy must be destroyed.
    """

    def __init__(self, context: "ExecutionContext", log: Log) -> None:
        self._context = context
        self._log = log

    def __call__(self, work: Awaitable[None]) -> None:
        """Start the work without waiting for it. An error is logged, as no code awaits the result."""
        import js

        promised = js.Promise.withResolvers()
        self._context.waitUntil(promised.promise)
        asyncio.ensure_future(work).add_done_callback(partial(self._ended, promised.resolve))

    def _ended(self, resolve: Callable[[], None], work: asyncio.Future[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self._log.failure("background_failed", error)
        resolve()
