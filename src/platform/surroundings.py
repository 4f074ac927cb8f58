"""What an isolate has for the invocations in it."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..composition import App, Runtime, WaitUntil
from ..http.isolate import Isolate
from ..inference.protocol import Provider
from .bindings import bindings, variable
from .runtime import WorkersRuntime

if TYPE_CHECKING:
    from js import Env


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """An isolate's runtime and the memory that its requests share.

    `provider`, if there is one, takes the place of the provider that the variables name.
    """

    runtime: Runtime
    memory: Isolate
    provider: Provider | None = None

    def app(self, env: "Env", wait_until: WaitUntil) -> App:
        """Put one invocation's parts together. Raises ConfigurationError for a bad variable."""
        return App(
            bindings(env), lambda name: variable(env, name), self.runtime, wait_until, self.memory, self.provider
        )


_OF_THE_INTERPRETER = Surroundings(runtime=WorkersRuntime(), memory=Isolate())

# On Workers each isolate has an interpreter of its own, and nobody sets this: the Worker and its objects share one
# memory wherever they share an isolate. The simulation has many isolates in one interpreter. It sets each isolate's own
# where the Worker's code begins to run.
SURROUNDINGS: ContextVar[Surroundings] = ContextVar("surroundings", default=_OF_THE_INTERPRETER)
