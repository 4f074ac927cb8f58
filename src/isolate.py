"""The memory that an isolate keeps between invocations."""

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
