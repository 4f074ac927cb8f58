"""The main module of a metered Worker in workerd, which wraps each handler of `entry` and exports its classes.

`limits.js` counts the use of bindings, because bindings are objects of JavaScript. This module tells `limits.js` which
invocation runs, and for how long. Cloudflare's glue finds the classes in this module by their names, as in `entry`.
"""

import asyncio
import functools
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import workers

import entry  # type: ignore[import-not-found]  # the Worker's main module, which is not on our path

_number: ContextVar[int] = ContextVar("invocation", default=0)
_seconds: dict[int, float] = {}
_longest: dict[int, float] = {}  # The seconds of each invocation's longest handle.
_loaded: list[Any] = []  # The functions that limits.js returns, from the first invocation on.


def _time_handles() -> None:
    """Add the time of each handle of the event loop to its invocation.

    All Python code of the Worker runs in such handles of the event loop.

    The clock has a resolution of 1 ms and counts wall time. With `--clock standing` the clock stands still, so all
    times are 0.
    """
    run = asyncio.Handle._run

    def timed(handle: Any) -> None:
        started = time.perf_counter()
        try:
            run(handle)
        finally:
            number = handle._context.get(_number, 0)
            seconds = time.perf_counter() - started
            _seconds[number] = _seconds.get(number, 0.0) + seconds
            _longest[number] = max(_longest.get(number, 0.0), seconds)
            while _released:
                _release(_released.pop())

    asyncio.Handle._run = timed  # type: ignore[assignment]


def _load(env: Any) -> Any:
    if not _loaded:
        import js
        import pyodide_js  # type: ignore[import-not-found]
        from pyodide.ffi import create_proxy, to_js  # type: ignore[attr-defined]

        python = to_js(
            {
                "current": create_proxy(_number.get),
                "takeSeconds": create_proxy(lambda number: _seconds.pop(number, 0.0)),
                "takeLongest": create_proxy(lambda number: _longest.pop(number, 0.0)),
                "heapMegabytes": create_proxy(lambda: -(-pyodide_js._module.HEAPU8.length // 1_000_000)),
            },
            dict_converter=js.Object.fromEntries,
        )
        _loaded.append(env.UNSAFE_EVAL.eval(env.LOCAL_LIMITS_SOURCE)(python))
    return _loaded[0]


class _Context:
    """The context of an invocation of the Worker, whose `waitUntil` keeps the invocation's meter open."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def waitUntil(self, awaitable: Awaitable[object]) -> None:
        self._context.waitUntil(_retained(awaitable))


_meters: dict[int, Any] = {}  # The open meters, by the number of the invocation.
# The numbers of the meters that the running handle has released. They are released after its time is added.
_released: list[int] = []


async def _counted(number: int, awaitable: Awaitable[object]) -> object:
    _number.set(number)
    try:
        return await awaitable
    finally:
        _released.append(number)


def _retained(awaitable: Awaitable[object]) -> Awaitable[object]:
    """Keep the running invocation's meter open until the awaitable has ended."""
    number = _number.get()
    if number not in _meters:
        return awaitable
    _meters[number].retain()
    return _counted(number, awaitable)


def _release(number: int) -> None:
    meter = _meters[number]
    meter.release()
    if not meter.holds:
        del _meters[number]


def _facts(cls: type, name: str, values: tuple[Any, ...]) -> dict[str, object]:
    if issubclass(cls, workers.DurableObject):
        return {"handler": f"{cls.__name__}.{name}"}
    if name == "fetch":
        path = "/" + values[0].url.partition("://")[2].partition("/")[2].partition("?")[0]
        return {"handler": name, "request": f"{values[0].method} {path}"}
    # Each delivered message counts as a read and a deletion. The count of queue operations may be too high, since a
    # retried message is not deleted.
    return {"handler": name, **({"queue_operations": 2 * len(values[0].messages)} if name == "queue" else {})}


def _metered(cls: type, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def invoked(self: Any, *values: Any) -> Any:
        meter = _loaded[0].open(self._plan, json.dumps(_facts(cls, name, values)), self._activity)
        _meters[meter.number] = meter
        _number.set(meter.number)
        try:
            answer = method(self, *values)
            return await answer if inspect.isawaitable(answer) else answer
        finally:
            _released.append(meter.number)

    return invoked


def _meter(cls: type) -> None:
    """Wrap the public methods of a class and the arguments of its constructor, so that their use is counted."""
    construct: Any = cls.__init__  # type: ignore[misc]
    is_object = issubclass(cls, workers.DurableObject)

    def constructed(self: Any, ctx: Any, env: Any) -> None:
        limits = _load(env)
        self._plan = env.LOCAL_LIMITS
        self._activity = limits.activity() if is_object else None
        construct(self, limits.context(ctx) if is_object else ctx, limits.bindings(env))
        if not is_object:
            self.ctx = _Context(self.ctx)

    for name, method in list(vars(cls).items()):
        if not name.startswith("_") and callable(method):
            setattr(cls, name, _metered(cls, name, method))
    cls.__init__ = constructed  # type: ignore[misc]


_time_handles()
_BASES = (workers.WorkerEntrypoint, workers.DurableObject)
_exported = {
    name: value
    for name, value in vars(entry).items()
    if isinstance(value, type) and issubclass(value, _BASES) and value not in _BASES
}
__all__ = list(_exported)
for _class in _exported.values():
    _meter(_class)
globals().update(_exported)
