"""Protocols of Durable Objects: the namespaces, the RPC methods, and an object's storage.

The classes themselves are in `entry`. A protocol declares only the parts that the project uses.
"""

from typing import Protocol

from ..core.ids import TaskKey
from ..inference.wire import Wire


class Namespace[Stub](Protocol):
    """All objects of one class."""

    def getByName(self, name: str) -> Stub:  # noqa: N802 - the platform's name
        """Return the stub of the one object of that name."""
        ...


class ProcessorStub(Protocol):
    """An `AIProcessor` at the other end of RPC: a task's own object, or a lane."""

    async def start(self, task_key: TaskKey, delay_seconds: float) -> object:
        """See `Processor.start`."""
        ...

    async def infer(self, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """See `Lane.infer`."""
        ...

    async def ended(self, fence: int) -> object:
        """See `Processor.ended`."""
        ...

    async def hear(self, fence: int, step: int, quiet: float, seconds: float) -> object:
        """See `Audience.hear`."""
        ...

    async def abort(self, fence: int) -> object:
        """See `Lane.abort`."""
        ...


class CoordinatorStub(Protocol):
    """A `BatchCoordinator` at the other end of RPC."""

    async def reach(self) -> object:
        """See `Coordinator.reach`."""
        ...

    async def infer(self, task_key: TaskKey, fence: int, lanes: int, calls: list[Wire], seconds: float) -> list[Wire]:
        """See `Coordinator.infer`."""
        ...

    async def abort(self, task_key: TaskKey, fence: int) -> object:
        """See `Coordinator.abort`."""
        ...

    async def close(self, fence: int) -> object:
        """See `Coordinator.close`."""
        ...


type Processors = Namespace[ProcessorStub]
type Coordinators = Namespace[CoordinatorStub]


class ObjectStorage(Protocol):
    """The part of an object's storage that each class uses. Alarms are milliseconds since the epoch."""

    async def setAlarm(self, at_ms: int) -> None:  # noqa: N802 - the platform's name
        """Set the object's one alarm."""
        ...

    async def deleteAll(self) -> None:  # noqa: N802 - the platform's name
        """Clear everything, including the alarm (from compatibility date 2026-02-24 on).

        Do not clear the alarm as well: that would write a row, which stays.
        """
        ...
