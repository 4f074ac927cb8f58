"""What lives as long as an isolate and is shared by its requests."""

from .key_cache import KeyCache
from .model_check import ModelCheck


class Isolate:
    """The memory of one isolate. Losing it costs calls, never correctness."""

    def __init__(self) -> None:
        self.keys = KeyCache()
        self.model = ModelCheck()
