"""The port through which every binding call leaves its isolate.

A call leaves the isolate, takes effect outside, and its reply comes back as an event. The isolate may die before the
call leaves, or while the reply is on its way. A call that has left takes effect even if its sender has died.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from random import Random
from typing import Any

from simulator.engine.fault_plan import FaultPlan
from simulator.engine.loop import Loop
from simulator.engine.scope import SCOPE
from simulator.platform.invocation_limits import InvocationLimits
from simulator.platform.isolate import Isolate, SimulatedInvocation

CONNECTION_LOST = "Network connection lost."

type Reply = Callable[[Any, BaseException | None], None]


class JsError(Exception):
    """The error that a binding raises, in place of `pyodide.ffi.JsException`.

    A `JsError` has `name` and `message`, and its text has both.
    """

    def __init__(self, message: str, name: str = "Error") -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


def entry_failure() -> JsError:
    """Return the error of an event that failed before any code of the Worker ran."""
    return JsError("Attempted to use PyProxy when Python GIL not held", "NoGilError")


class CpuExceeded(BaseException):
    """Raised when the CPU limit is exceeded.

    `CpuExceeded` is no `Exception`, so ordinary handlers do not swallow it.
    """


class IsolateGone(BaseException):
    """Raised by synchronous calls in a dead isolate. Only coroutines that are being closed see this error."""


class Pending(Coroutine[Any, Any, Any]):
    """The coroutine that a binding call returns.

    If the coroutine is never awaited, Python gives no warning, because the call is already under way.
    """

    __slots__ = ("_args", "_function", "_started")

    def __init__(self, function: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        self._function = function
        self._args = args
        self._started: Coroutine[Any, Any, Any] | None = None

    def _start(self) -> Coroutine[Any, Any, Any]:
        if self._started is None:
            self._started = self._function(*self._args)
        return self._started

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._start().__await__()

    def send(self, value: Any) -> Any:
        return self._start().send(value)

    def throw(self, *error: Any) -> Any:
        return self._start().throw(*error)

    def close(self) -> None:
        if self._started is not None:
            self._started.close()

    @property
    def cr_frame(self) -> Any:
        """None if the coroutine has not begun or has ended, so that there is nothing to close."""
        return None if self._started is None else getattr(self._started, "cr_frame", None)


class Network:
    """The network between isolates and bindings, which draws latencies in virtual seconds from the seed."""

    def __init__(self, loop: Loop, faults: FaultPlan, rng: Random, *, scale_seconds: float = 0.008) -> None:
        self.loop = loop
        self.faults = faults
        self.scale_seconds = scale_seconds
        self.limits: InvocationLimits | None = None
        self.never_awaited: list[str] = []  # The values that objects gave to `ctx.waitUntil` and that are no promises.
        self._random = rng.random

    def latency_seconds(self) -> float:
        """Draw the latency of one way: often zero, mostly some milliseconds, sometimes tens of milliseconds.

        The latency is always 0 if `scale_seconds` is 0.
        """
        if self.scale_seconds == 0.0:
            return 0.0
        draw = self._random()
        return 0.0 if draw < 0.25 else self.scale_seconds * draw / (1.05 - draw)


class Port:
    """The port of one isolate."""

    __slots__ = ("faults", "isolate", "loop", "network")

    def __init__(self, isolate: Isolate, network: Network) -> None:
        self.isolate = isolate
        self.network = network
        self.loop = network.loop
        self.faults = network.faults

    def is_closed(self) -> bool:
        """Whether calls can no longer leave the isolate, because it is dead."""
        return self.isolate.dead

    def call(
        self,
        label: str,
        take_effect: Callable[[Reply], None],
        *,
        shape: Callable[[Any], Any] | None = None,
        sends: bool = False,
        statements: int = 0,
    ) -> "Pending":
        """Send a request at once, as a JavaScript binding does, and return a coroutine that awaits the reply.

        `take_effect(reply)` runs outside the isolate when the request arrives, and calls `reply(value, error)` at once
        or later. `shape` is applied to the value when the reply is awaited. `sends` marks sends to a queue or an
        object, at which a crash is a separate kind of fault. `statements` is how many D1 statements the binding call
        has.
        """
        loop, isolate, faults = self.loop, self.isolate, self.faults
        future = loop.create_future()
        if self.is_closed():
            return Pending(_wait, future, shape)
        scope = SCOPE.get()
        context = scope.context if isinstance(scope, SimulatedInvocation) else loop.outside
        if isinstance(scope, SimulatedInvocation):
            if scope.dead:
                return Pending(_wait, future, shape)
            scope.calls += 1
            limits = self.network.limits
            if limits is not None:
                refusal = limits.spend(scope.use, f"{isolate.name} {scope.label} {label}", statements)
                if refusal is not None:
                    return Pending(_given, None, JsError(refusal), shape)
        when = faults.point(label, scope)
        if (
            when == "before"
            or faults.fires("crash_before", isolate.name)
            or (sends and faults.fires("crash_before_enqueue", isolate.name))
        ):
            faults.record(isolate.name, "dies before", label)
            isolate.kill()
            return Pending(_wait, future, shape)
        if isolate.before_output is not None:
            isolate.before_output()
            if self.is_closed():
                return Pending(_wait, future, shape)
        dies_after = when == "after" or faults.fires("crash_after", isolate.name)
        request = _Request(self, label, future, context, dies_after)
        faults.record(isolate.name, "calls", label)
        loop.call_event(self.network.latency_seconds(), take_effect, request.reply, context=loop.outside)
        return Pending(_wait, future, shape)


class DirectPort:
    """A port without a network, a loop or faults, whose calls take effect and are answered at once."""

    def call(
        self,
        label: str,
        take_effect: Callable[[Reply], None],
        *,
        shape: Callable[[Any], Any] | None = None,
        sends: bool = False,
        statements: int = 0,
    ) -> "Pending":
        """Carry out the call now. The returned coroutine never waits, so `coroutine.send(None)` ends it."""
        replies: list[tuple[Any, BaseException | None]] = []
        take_effect(lambda value, error: replies.append((value, error)))
        assert replies, f"{label} has no immediate answer"
        return Pending(_given, *replies[0], shape)


async def _given(value: Any, error: BaseException | None, shape: Callable[[Any], Any] | None) -> Any:
    if error is not None:
        raise error
    return value if shape is None else shape(value)


class _Request:
    """A binding call that is under way."""

    __slots__ = ("context", "dies_after", "future", "label", "port", "replied")

    def __init__(self, port: Port, label: str, future: asyncio.Future[Any], context: Context, dies_after: bool) -> None:
        self.port = port
        self.label = label
        self.future = future
        self.context = context
        self.dies_after = dies_after
        self.replied = False

    def reply(self, value: Any, error: BaseException | None) -> None:
        assert not self.replied, f"two replies to {self.label}"
        self.replied = True
        port = self.port
        isolate, faults = port.isolate, port.faults
        if isolate.dead:
            return
        if self.dies_after:
            faults.record(isolate.name, "dies after", self.label)
            isolate.kill()
            return
        delay = port.network.latency_seconds()
        if faults.fires("cpu_exceeded", isolate.name):
            error = CpuExceeded("Worker exceeded CPU time limit.")
            self._condemn(delay)
        elif faults.fires("cancelled", isolate.name):
            error = asyncio.CancelledError()
            self._condemn(delay)
        elif faults.fires("worker_frozen", isolate.name):
            isolate.freeze(faults.between(30, 600))
        if faults.fires("clock_jumped", isolate.name, 0.2):
            isolate.skew_ms += faults.between(-90_000, 90_000)
        port.loop.call_event(delay, self._deliver, value, error, context=self.context)

    def _condemn(self, delay: float) -> None:
        """Kill the isolate within 50 ms after the reply.

        Until the isolate dies, code that handles the error can use bindings.
        """
        port = self.port
        port.loop.call_later(delay + port.faults.between(0, 0.05), port.isolate.kill, context=port.loop.outside)

    def _deliver(self, value: Any, error: BaseException | None) -> None:
        scope = self.context.get(SCOPE)
        if isinstance(scope, SimulatedInvocation) and self.port.network.limits is not None:
            scope.use.waiting -= 1
        if not self.future.done():
            self.future.set_result((value, error))


async def _wait(future: asyncio.Future[Any], shape: Callable[[Any], Any] | None = None) -> Any:
    value, error = await future
    if error is not None:
        raise error
    return value if shape is None else shape(value)
