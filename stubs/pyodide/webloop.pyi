"""Pyodide's event loop."""

import asyncio
from abc import ABCMeta
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

class PyodideFuture[T](asyncio.Future[T]): ...
class PyodideTask[T](asyncio.Task[T], PyodideFuture[T]): ...

class WebLoop(asyncio.AbstractEventLoop, metaclass=ABCMeta):
    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle: ...
    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle: ...
    def create_future(self) -> asyncio.Future[Any]: ...
    def create_task(self, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]: ...
