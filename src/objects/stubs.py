"""The protocols of Durable Objects: namespaces, RPC methods, and an object's storage; and the names of objects.

A task's object and the task's coordinator have the task's key as their name.

The classes of the Durable Objects are in `platform.durable_objects`.
"""

from typing import Final, Protocol

from ..kernel.calls.wire import Wire
from ..kernel.domain.ids import TaskKey

# Objects may run code of the release before for up to 300 s after a deployment. A coordinator answers `reach` with
# CALLS_KNOWN, which rises with each kind of call that its code knows. Code that knows no lines of batches answers None.
LINES_KNOWN: Final = 2
CALLS_KNOWN: Final = LINES_KNOWN
# What the platform says of a method that an object lacks: the runtime, and its Python glue. In the simulation Python
# says it. In each case nothing of the object was run.
_UNKNOWN: Final = ('does not implement the method "{}"', "Method {} does not exist", "has no attribute '{}'")


def task_name(task_key: TaskKey) -> str:
    """Return the name of a task's object as a claim's host, the same for all of its instances."""
    return f"object/{task_key}"


def lane_name(task_key: TaskKey, number: int) -> str:
    """Return the name of the object that is the task's lane with the given number."""
    return f"{task_key}/lane-{number}"


def is_unknown_method(error: Exception, name: str) -> bool:
    """Whether a call over RPC failed because the object's code has no method of that name."""
    return any(mark.format(name) in str(error) for mark in _UNKNOWN)


class Namespace[Stub](Protocol):
    """All Durable Objects of one class."""

    def getByName(self, name: str) -> Stub:  # noqa: N802 - the platform's name
        """Return the stub of the object with the given name."""
        ...


class ProcessorStub(Protocol):
    """A stub for calls to an `AIProcessor`, which is a task's object or a lane."""

    async def start(self, task_key: TaskKey, delay_seconds: float) -> object:
        """See `Processor.start`."""
        ...

    async def infer(self, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """See `Lane.infer`."""
        ...

    async def infer_lines(self, task_key: TaskKey, fence: int, calls: list[Wire]) -> list[Wire]:
        """See `Lane.infer`, for calls that include lines of a batch. Code without batches has no such method."""
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
    """A stub for calls to a `BatchCoordinator`."""

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
    """What of an object's storage tasks' objects and coordinators use. Alarms are in ms since the epoch."""

    async def setAlarm(self, at_ms: int) -> None:  # noqa: N802 - the platform's name
        """Set the only alarm of the object."""
        ...

    async def deleteAll(self) -> None:  # noqa: N802 - the platform's name
        """Delete the storage and the alarm. To delete the alarm separately would write a row that stays."""
        ...
