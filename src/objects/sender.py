"""Sends tasks to their Durable Objects, tells these of tasks that have ended, and hears from them of others."""

import asyncio
from collections.abc import Awaitable, Callable

from ..core import limits
from ..core.ids import TaskKey
from ..core.meter import Meter
from ..core.task import Mark, Route
from ..processing.dispatch import NoPlace
from ..processing.log import Log
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


class ObjectTeller:
    """Tells a task's object that the task has ended under it. It looks by itself, too, so this may fail."""

    def __init__(self, processors: Processors | None, meter: Meter, log: Log) -> None:
        self._processors = processors
        self._meter = meter
        self._log = log

    async def tell(self, task_key: TaskKey, fence: int) -> None:
        """Tell it that claims up to `fence` are over, in no more than TELL_SECONDS."""
        if self._processors is None:
            return
        self._meter.spend()
        try:
            async with asyncio.timeout(limits.TELL_SECONDS):
                await self._processors.getByName(task_key).ended(fence)
        except Exception as error:  # noqa: BLE001 - RPC raises what it likes, and the task has ended all the same
            self._log("not_told", task=task_key, error=type(error).__name__)

    async def hear(self, task_key: TaskKey, since: Mark, quiet: float, seconds: float) -> bool | None:
        """Wait at the object for word of the task, see `Audience.hear`. None, too: it cannot be reached."""
        if self._processors is None:
            return None
        self._meter.spend()
        try:
            async with asyncio.timeout(seconds + limits.TELL_SECONDS):
                heard = await self._processors.getByName(task_key).hear(*since, quiet, seconds)
        except Exception as error:  # noqa: BLE001 - RPC raises what it likes, and looks find out the same
            self._log("not_heard", task=task_key, error=type(error).__name__)
            return None
        return heard if isinstance(heard, bool) else None
