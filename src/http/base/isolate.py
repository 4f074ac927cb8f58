"""An isolate's memory for requests: what is known of API keys."""

from ...processing.invocation import Memory
from .known_keys import KeyCache, Lookups, RefusedTexts


class RequestMemory(Memory):
    """The memory of an isolate that answers HTTP requests as well as working on tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.keys = KeyCache()
        self.refused = RefusedTexts()
        self.lookups = Lookups()
