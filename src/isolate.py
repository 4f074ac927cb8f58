"""The memory that an isolate keeps between invocations."""

from typing import Any

from .core.calls.news import ModelNews
from .core.calls.pace import Latency
from .core.database_load import DatabaseLoad
from .core.marks import Marks
from .core.settings import Settings
from .core.storage import StorageUse
from .processing.heartbeats import TriggerHeartbeats
from .processing.memory import MemoryAllowance


class Memory:
    """An isolate's memory between invocations.

    Losing an isolate's memory costs further calls, and never a correct result.
    """

    def __init__(self) -> None:
        self.settings: Settings | None = None  # None until the isolate's first invocation has read the settings
        self.load = DatabaseLoad()
        self.latency = Latency()
        self.heartbeats = TriggerHeartbeats()
        self.storage = StorageUse()
        self.news = ModelNews()
        self.marks = Marks()
        self.memory = MemoryAllowance()
        self._kept: dict[type, Any] = {}

    def of[T](self, kept: type[T]) -> T:
        """Return the isolate's only instance of a feature's class, which is made when it is first wanted."""
        if kept not in self._kept:
            self._kept[kept] = kept()
        found: T = self._kept[kept]
        return found
