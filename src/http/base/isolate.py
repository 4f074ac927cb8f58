"""What an isolate remembers between invocations: keys, the state of its model and database, and triggers."""

from ...core.calls.news import ModelNews
from ...core.calls.pace import Latency
from ...core.database_load import DatabaseLoad
from ...core.marks import Marks
from ...core.settings import Settings
from ...core.storage import Storage
from ...processing.heartbeats import TriggerHeartbeats
from .checks import DatabaseCheck, ModelCheck
from .known_keys import KeyCache, Lookups, RefusedTexts


class Isolate:
    """The memory of one isolate. Losing it costs calls, never correctness."""

    def __init__(self) -> None:
        self.settings: Settings | None = None  # None until they have been read
        self.keys = KeyCache()
        self.refused = RefusedTexts()
        self.lookups = Lookups()
        self.load = DatabaseLoad()
        self.model = ModelCheck()
        self.database = DatabaseCheck()
        self.latency = Latency()
        self.heartbeats = TriggerHeartbeats()
        self.storage = Storage()
        self.news = ModelNews()
        self.marks = Marks()
