"""Calls tasks' Durable Objects: to start them, to tell them that a task has ended, and to wait at them for writes."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from ..kernel.domain import limits
from ..kernel.domain.errors import StoreError
from ..kernel.domain.ids import TaskKey
from ..kernel.domain.meter import Meter
from ..kernel.domain.task import Mark, Route
from ..kernel.run.log import Log
from ..kernel.store.tasks import TaskStore
from ..kernel.work.dispatch import NoSlot
from ..kernel.work.worker import Worker
from .stubs import Processors


@dataclass(frozen=True, slots=True)
class Slots:
    """The object slots (MAX_OBJECTS_AT_WORK): a task takes one before its object starts, and before each slice."""

    store: TaskStore
    processors: Processors
    most: int
    meter: Meter
    log: Log

    async def take(self, task_key: TaskKey) -> bool:
        """Take an object slot, or return False if the task must wait behind others that came earlier."""
        taken, waiting = await self.store.take_slot(task_key, self.most)
        await self._start(await self.store.give_slots(waiting, self.most) if waiting else [])
        return taken

    async def pass_on(self) -> None:
        """Give a slot that has just become free to the task whose turn it is. After an error the sweep does so."""
        try:
            await self._start(await self.store.fill_slots(self.most, 1))
        except StoreError as error:
            self.log("not_passed_on", error=error.code)

    async def _start(self, task_keys: Sequence[TaskKey]) -> None:
        for task_key in task_keys:
            self.meter.spend()
            try:
                await self.processors.getByName(task_key).start(task_key, 0)
            except Exception as error:  # noqa: BLE001 - RPC raises any type; the sweep finds the task, which is due
                self.log("not_started", task=task_key, error=type(error).__name__)


def slots_of(worker: Worker, processors: Processors) -> Slots | None:
    """Make the object slots for a worker's invocation; None if any number of objects may work at once."""
    most = worker.settings.objects_at_work_most
    return None if most is None else Slots(worker.store, processors, most, worker.meter, worker.log)


class ObjectSender:
    """The route to Durable Objects: it starts the task's object, which with `slots` needs a slot first."""

    route = Route.DURABLE_OBJECT

    def __init__(self, processors: Processors, slots: Slots | None) -> None:
        self._processors = processors
        self._slots = slots

    async def send(self, task_key: TaskKey, delay_seconds: float) -> None:
        """Start the task's object, which has stored the task and set its alarm then. Raises NoSlot."""
        if self._slots is not None and not await self._slots.take(task_key):
            raise NoSlot
        await self._processors.getByName(task_key).start(task_key, delay_seconds)


class ObjectTeller:
    """Sends notices to tasks' objects, and waits for theirs. One may be lost: all read the database anyway."""

    def __init__(self, processors: Processors | None, meter: Meter, log: Log) -> None:
        self._processors = processors
        self._meter = meter
        self._log = log

    async def tell(self, task_key: TaskKey, fence: int) -> None:
        """Tell a task's object, within TELL_SECONDS, that the task has ended for all claims up to `fence`."""
        if self._processors is None:
            return
        self._meter.spend()
        try:
            async with asyncio.timeout(limits.TELL_SECONDS):
                await self._processors.getByName(task_key).ended(fence)
        except Exception as error:  # noqa: BLE001 - RPC raises any type; the object sees the end of the task later
            self._log("not_told", task=task_key, error=type(error).__name__)

    async def hear(self, task_key: TaskKey, since: Mark, quiet: float, seconds: float) -> bool | None:
        """Wait at a task's object for a write; None if it is unreachable, or as in `Audience.hear`."""
        if self._processors is None:
            return None
        self._meter.spend()
        try:
            async with asyncio.timeout(seconds + limits.TELL_SECONDS):
                heard = await self._processors.getByName(task_key).hear(*since, quiet, seconds)
        except Exception as error:  # noqa: BLE001 - RPC raises any type; the request reads the task instead
            self._log("not_heard", task=task_key, error=type(error).__name__)
            return None
        return heard if isinstance(heard, bool) else None
