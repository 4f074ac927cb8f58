"""Sends tasks to their Durable Objects."""

from ..core.ids import TaskKey
from ..core.task import Route
from .stubs import Processors


class ObjectSender:
    """The Durable Object route: the object's alarm asks for the run."""

    route = Route.DURABLE_OBJECT

    def __init__(self, processors: Processors) -> None:
        self._processors = processors

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Start the task's object; it has the task in its storage and its alarm set when this returns."""
        await self._processors.getByName(task_key).start(task_key, delay_seconds)
