"""What one invocation of the Worker has, from which features make their stores, and the memory of its isolate."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..calls.model_health import ModelHealths
from ..calls.pace import Latency
from ..domain.database_state import DatabaseLoad, StorageUse
from ..domain.marks import Marks
from ..domain.meter import Meter
from ..domain.settings import Settings
from ..store.d1 import Database
from ..store.hooks import NO_HOOKS, Hooks
from ..store.seen import TriggerHeartbeats
from ..store.tasks import TaskStore
from .log import Log
from .memory import MemoryAllowance

WaitUntil = Callable[[Awaitable[None]], None]


class Memory:
    """An isolate's memory between invocations. Losing it costs calls, and never a correct result."""

    def __init__(self) -> None:
        self.settings: Settings | None = None  # None until the isolate's first invocation has read the settings
        self.load = DatabaseLoad()
        self.latency = Latency()  # How long D1 takes for a write.
        self.heartbeats = TriggerHeartbeats()  # The triggers (queue, alarm) that the isolate has recorded in D1.
        self.storage = StorageUse()  # What is known of the database's size and space.
        self.health = ModelHealths()  # Whether each model answers.
        self.marks = Marks()  # The last write to each task by the isolate's workers.
        self.memory = MemoryAllowance()  # What all requests and runs may hold at once.
        self._kept: dict[type, Any] = {}

    def of[T](self, kept: type[T]) -> T:
        """Return the isolate's only instance of a feature's class, which is made when it is first wanted."""
        if kept not in self._kept:
            self._kept[kept] = kept()
        found: T = self._kept[kept]
        return found


class Courier(Protocol):
    """Posts messages to servers of clients."""

    async def post(
        self, url: str, *, headers: Mapping[str, str], body: str, timeout_seconds: float
    ) -> tuple[int, Mapping[str, str]]:
        """Post once, without redirects. Returns status and headers. Raises HttpTimeout or HttpConnectionLost."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What one invocation has. Stores of features are made with `store.beside`."""

    database: Database
    settings: Settings
    meter: Meter  # Counts what the invocation has spent of its allowance.
    chance: Callable[[], float]  # A function that returns a random number from 0 to 1.
    nonce: Callable[[], str]  # A function that returns a new name for the holder of each claim.
    log: Log
    isolate: Memory
    courier: Courier
    bucket: Callable[[], object]  # A function that makes the bucket of files; None in a deployment without one.
    hooks: Hooks = NO_HOOKS
    wait_until: WaitUntil  # Keeps the invocation alive until the work that it is given has ended.

    @property
    def store(self) -> TaskStore:
        """Make the store of tasks."""
        return TaskStore(self.database, self.hooks)

    def over(self, database: Database) -> "Invocation":
        """Return this invocation with other access to D1. `replace` would take several times as long."""
        return Invocation(**{name: getattr(self, name) for name in Invocation.__slots__} | {"database": database})

    def begin_after_ends(self) -> None:
        """Begin what features do after the ends that this invocation has written, such as sending webhooks."""
        for hook in self.hooks.ends:
            hook.begin()
