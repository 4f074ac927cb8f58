"""What the runtime loads: the Worker and its Durable Objects, thin shells around `composition`.

At run time this module is named `entry` and its directory stands behind the standard library on the path, so that
`import queue` or `import http` would never find ours. The rest of the project is therefore the package `src`, which
this module registers before it imports from it.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

if "src" not in sys.modules:
    package = ModuleType("src")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["src"] = package

from workers import DurableObject, WorkerEntrypoint

from src.composition import App, WaitUntil
from src.core.errors import ConfigurationError
from src.core.ids import TaskKey
from src.http.isolate import Isolate
from src.http.router import configuration_problem, handle
from src.inference.wire import Wire
from src.objects.ai_processor import Processor
from src.objects.batch_coordinator import Coordinator
from src.objects.lane import infer_all
from src.platform.bindings import bindings, variable
from src.platform.http_messages import IncomingRequest, outgoing
from src.platform.runtime import WorkersRuntime
from src.processing.log import Log
from src.processing.worker import Worker

# One for the Worker and its objects where they share an isolate; empty until the first request.
_ISOLATE = Isolate()


def _app(env: Any, wait_until: WaitUntil) -> App:
    """Put one invocation's parts together."""
    return App(bindings(env), lambda name: variable(env, name), WorkersRuntime(), wait_until, _ISOLATE)


class Default(WorkerEntrypoint):
    """The Worker: the HTTP API, the consumer of both queues, and the sweep."""

    async def fetch(self, request: Any) -> Any:
        """Answer one HTTP request."""
        incoming = IncomingRequest(request)
        try:
            app = _app(self.env, self.ctx.waitUntil)
        except ConfigurationError as error:
            return outgoing(configuration_problem(error, incoming.method))
        return outgoing(await handle(incoming, app.api()))

    async def queue(self, batch: Any, env: Any = None, ctx: Any = None) -> None:
        """Handle the messages of one batch."""
        await _app(self.env, self.ctx.waitUntil).queue(batch)

    async def scheduled(self, controller: Any, env: Any = None, ctx: Any = None) -> None:
        """Handle a cron trigger."""
        await _app(self.env, self.ctx.waitUntil).scheduled()


class AIProcessor(DurableObject):
    """One task's lock and worker, see `objects.ai_processor`; or a lane of a long task, see `objects.lane`."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        runtime = WorkersRuntime()
        self._processor = Processor(
            self.ctx.storage, self._worker, bindings(self.env).coordinators, runtime.now_ms, Log(runtime.write)
        )

    async def start(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Take on a task; called over RPC."""
        await self._processor.start(task_key, delay_seconds)

    async def infer(self, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """Make a group of calls as a lane; called over RPC."""
        return await infer_all(self._worker(), task_key, fence, calls)

    async def alarm(self, info: Any = None) -> None:
        """Work one slice."""
        await self._processor.alarm()

    def _worker(self) -> Worker:
        return _app(self.env, self.ctx.waitUntil).worker()


class BatchCoordinator(DurableObject):
    """One long task's chunk coordination, see `objects.batch_coordinator`."""

    def __init__(self, ctx: Any, env: Any) -> None:
        super().__init__(ctx, env)
        runtime = WorkersRuntime()
        self._coordinator = Coordinator(self.ctx.storage, self.env.AI_PROCESSOR, runtime.now_ms, Log(runtime.write))

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        """Have a lane make a group of calls; called over RPC."""
        return await self._coordinator.infer(task_key, fence, lanes, calls, seconds)

    async def close(self) -> None:
        """Forget everything; called over RPC."""
        await self._coordinator.close()

    async def alarm(self, info: Any = None) -> None:
        """Clean up."""
        await self._coordinator.alarm()
