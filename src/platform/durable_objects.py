"""The classes of the Durable Objects, which pass events to the package `objects` with storage, clock and worker."""

from typing import TYPE_CHECKING

from workers import DurableObject

from ..kernel.calls.wire import Wire
from ..kernel.domain.errors import ConfigurationError
from ..kernel.domain.ids import TaskKey
from ..kernel.domain.task import Mark
from ..kernel.run.log import Log
from ..kernel.work.worker import Worker
from ..objects.ai_processor import Processor
from ..objects.batch_coordinator import Coordinator
from ..objects.lane import Lane, infer_none
from .bindings import bindings
from .objects import answered, storage_of
from .surroundings import SURROUNDINGS

if TYPE_CHECKING:
    from js import DurableObjectState, Env


class AIProcessor(DurableObject):
    """A task's object (see `objects.ai_processor`), or a lane of a long task (see `objects.lane`)."""

    def __init__(self, ctx: "DurableObjectState", env: "Env") -> None:
        super().__init__(ctx, env)
        self._surroundings = SURROUNDINGS.get()
        bound = bindings(self.env)
        runtime = self._surroundings.runtime
        self._processor = Processor(
            storage_of(self.ctx), self._worker, bound.coordinators, runtime.now_ms, Log(runtime.write), bound.processors
        )
        self._lane = Lane()

    async def start(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Accept a task to work on. Called over RPC."""
        await self._processor.start(task_key, delay_seconds)

    async def infer(self, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """Make a group of model calls as a lane. Called over RPC."""
        try:
            worker = self._worker()
        except ConfigurationError as error:
            outcomes = infer_none(error, task_key, calls, Log(self._surroundings.runtime.write))
        else:
            outcomes = await self._lane.infer(worker, task_key, fence, calls)
        return answered(self.env, outcomes)

    async def infer_lines(self, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """Make calls, some of them lines of a batch. By RPC; its presence says that the code knows lines."""
        return await self.infer(task_key, fence, calls)

    async def ended(self, fence: int) -> None:
        """Note that the task has ended for all claims up to `fence`. Called over RPC."""
        await self._processor.ended(fence)

    async def hear(self, fence: int, step: int, quiet: float, seconds: float) -> bool | None:
        """Wait until the task is written to. Called over RPC."""
        return await self._processor.audience.hear(Mark(fence, step), quiet, seconds)

    async def abort(self, fence: int) -> None:
        """Cancel the lane's calls that belong to claims up to `fence`. Called over RPC."""
        self._lane.abort(fence)

    async def alarm(self, info: object = None) -> None:
        """Work on the task for one slice. Called when the object's alarm fires."""
        await self._processor.alarm()

    def _worker(self) -> Worker:
        return self._surroundings.app(self.env, self.ctx).worker


class BatchCoordinator(DurableObject):
    """The coordinator of a long task's lanes; see `objects.batch_coordinator`."""

    def __init__(self, ctx: "DurableObjectState", env: "Env") -> None:
        super().__init__(ctx, env)
        runtime = SURROUNDINGS.get().runtime
        lanes = bindings(self.env).processors
        assert lanes is not None, "it is bound wherever this class is"
        self._coordinator = Coordinator(storage_of(self.ctx), lanes, runtime.now_ms, Log(runtime.write))

    async def reach(self) -> int:
        """Show that the coordinator can be reached, and which calls it knows. Called over RPC."""
        return await self._coordinator.reach()

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        """Let a lane make a group of model calls. Called over RPC."""
        return answered(self.env, await self._coordinator.infer(task_key, fence, lanes, calls, seconds))

    async def abort(self, task_key: TaskKey, fence: int) -> None:
        """Ask the busy lanes to end the calls of all claims up to `fence`. Called over RPC."""
        await self._coordinator.abort(task_key, fence)

    async def close(self, fence: int) -> None:
        """Delete the coordinator's storage. Called over RPC."""
        await self._coordinator.close(fence)

    async def alarm(self, info: object = None) -> None:
        """Clean up."""
        await self._coordinator.alarm()
