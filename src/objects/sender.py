"""Sends tasks to their Durable Objects."""

from collections.abc import Awaitable, Callable

from ..core.ids import TaskKey
from ..core.task import Route
from ..processing.dispatch import NoPlace
from .stubs import Processors


class ObjectSender:
    """The Durable Object route: the object's alarm asks for the run.

    `take_place`, if there is one, says whether the task may be among those that objects work on.
    """

    route = Route.DURABLE_OBJECT

    def __init__(self, processors: Processors, take_place: Callable[[TaskKey], Awaitable[bool]] | None = None) -> None:
        self._processors = processors
        self._take_place = take_place

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Start the task's object; it has the task in its storage and its alarm set when this returns.

        Raises NoPlace if so many objects are at work already as may be.
        """
        if self._take_place is not None and not await self._take_place(task_key):
            raise NoPlace
        await self._processors.getByName(task_key).start(task_key, delay_seconds)
