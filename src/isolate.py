"""The state that an isolate keeps between invocations, whichever trigger begins them."""

from .core.calls.news import ModelNews
from .core.calls.pace import Latency
from .core.database_load import DatabaseLoad
from .core.marks import Marks
from .core.settings import Settings
from .core.storage import StorageUse
from .processing.heartbeats import TriggerHeartbeats


class Memory:
    """What one isolate keeps in memory. Losing it costs calls, never correctness."""

    def __init__(self) -> None:
        self.settings: Settings | None = None  # the settings; None until the first invocation has read them
        self.load = DatabaseLoad()
        self.latency = Latency()
        self.heartbeats = TriggerHeartbeats()
        self.storage = StorageUse()
        self.news = ModelNews()
        self.marks = Marks()
