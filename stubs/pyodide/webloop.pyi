"""Pyodide's event loop."""

import asyncio
from abc import ABCMeta
from collections.abc import Callable
from contextvars import Context
from typing import Any

class WebLoop(asyncio.AbstractEventLoop, metaclass=ABCMeta):
    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle: ...
    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle: ...
