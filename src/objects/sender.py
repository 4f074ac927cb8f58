"""Sends tasks to their Durable Objects."""

from typing import Protocol

from ..core.ids import TaskKey
from ..core.task import Route


class ProcessorStub(Protocol):
    """An `AIProcessor` at the other end of RPC."""

    async def start(self, task_key: TaskKey, delay_seconds: float) -> object:
        """See `Processor.start`."""
        ...


class Processors(Protocol):
    """The `AI_PROCESSOR` namespace."""

    def getByName(self, name: str) -> ProcessorStub:  # noqa: N802 - the platform's name
        """Return the stub of the one object of that name."""
        ...


class ObjectSender:
    """The Durable Object route: the object's alarm asks for the run."""

    route = Route.DURABLE_OBJECT

    def __init__(self, processors: Processors) -> None:
        self._processors = processors

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Start the task's object; it has the task in its storage and its alarm set when this returns."""
        await self._processors.getByName(task_key).start(task_key, delay_seconds)
