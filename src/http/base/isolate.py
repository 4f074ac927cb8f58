"""An isolate's memory for requests: API keys, and the last checks of the model and of the database."""

from ...isolate import Memory
from .checks import DatabaseCheck, ModelCheck
from .known_keys import KeyCache, Lookups, RefusedTexts


class RequestMemory(Memory):
    """The memory of an isolate that answers HTTP requests as well as working on tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = KeyCache()
        self.refused = RefusedTexts()
        self.lookups = Lookups()
        self.model = ModelCheck()
        self.database = DatabaseCheck()
