"""What an isolate gives to its invocations: a runtime, and a memory that they share."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..composition import App, Runtime
from ..kernel.api.base.services import RequestMemory
from ..kernel.calls.protocol import Provider
from ..kernel.domain.settings import load
from ..kernel.run.log import Log
from .background import Background
from .bindings import bindings
from .event_loop import EVENT_LOOP
from .runtime import WorkersRuntime

if TYPE_CHECKING:
    from js import Env, ExecutionContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """An isolate's runtime, and the memory of its invocations. `provider` replaces that of the variables."""

    runtime: Runtime
    memory: RequestMemory
    provider: Provider | None = None

    def app(self, env: "Env", context: "ExecutionContext") -> App:
        """Make the application for one invocation. Raises ConfigurationError if a variable has a bad value.

        `context` belongs to the invocation or to its object. The variables are read once for each isolate, because
        reading thirty variables took a tenth of the time of an invocation. When a variable is changed, the Worker gets
        a new version, which has new isolates.
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
