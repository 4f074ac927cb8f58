"""What an isolate gives to its invocations: a runtime, a memory that they share, and work that goes on after them."""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ..composition import App, Runtime
from ..kernel.api.base.services import RequestMemory
from ..kernel.calls.protocol import Provider
from ..kernel.domain.settings import load
from ..kernel.run.log import Log
from .bindings import bindings
from .event_loop import EVENT_LOOP
from .runtime import WorkersRuntime

if TYPE_CHECKING:
    from js import Env, ExecutionContext


class Background:
    """Runs work after an answer, or after an object's event: it implements `WaitUntil` with their context.

    The SDK patches only a Worker's context so that it accepts a coroutine, and not an object's. Both accept a
    JavaScript promise, which Python resolves at the end of the work. JavaScript then holds no Python object, so no
    proxy must be destroyed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """An isolate's runtime, and the memory of its invocations. `provider` replaces that of the variables."""

    runtime: Runtime
    memory: RequestMemory
    provider: Provider | None = None

    def app(self, env: "Env", context: "ExecutionContext") -> App:
        """Make the application for one invocation, with its own or its object's context. Raises ConfigurationError.

        The variables are read once for each isolate, because reading thirty took a tenth of an invocation's time. A
        Worker whose variables change gets new isolates.
        """
        if self.memory.settings is None:
            self.memory.settings = load(lambda name: getattr(env, name, None))
            EVENT_LOOP.settle(self.memory.settings.event_loop, Log(self.runtime.write))
        return App(
            bindings(env), self.memory.settings, self.runtime, self.background(context), self.memory, self.provider
        )

    def background(self, context: "ExecutionContext") -> Background:
        """Return the object that runs work after an answer was sent."""
        return Background(context, Log(self.runtime.write))


_OF_THE_INTERPRETER = Surroundings(runtime=WorkersRuntime(), memory=RequestMemory())

# On Workers each isolate has its own interpreter, and SURROUNDINGS keeps its default value, so the Worker and the
# objects in one isolate share one memory. The simulation has many isolates in one interpreter, and sets SURROUNDINGS
# for each isolate before it runs the Worker's code.
SURROUNDINGS: ContextVar[Surroundings] = ContextVar("surroundings", default=_OF_THE_INTERPRETER)
