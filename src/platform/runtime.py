"""The clock, the randomness, the log output and the network of the Workers runtime."""

import os
import random
import time

from ..kernel.calls.protocol import HttpClient
from ..kernel.run.invocation import Courier
from .http_client import FetchClient, FetchCourier


class WorkersRuntime:
    """Implements `composition.Runtime`."""

    courier: Courier

    def __init__(self) -> None:
        self.courier = FetchCourier()

    @property
    def http(self) -> HttpClient:
        """Make an HTTP client for one invocation."""
        return FetchClient()

    def now_ms(self) -> int:
        """Return the isolate's time in ms since the epoch, which stands still between awaits on Workers."""
        return time.time_ns() // 1_000_000

    def entropy(self, size: int) -> bytes:
        """Return random bytes from the runtime's cryptographic source."""
        return os.urandom(size)

    def chance(self) -> float:
        """Return a random number from 0 to 1, for jitter."""
        return random.random()  # noqa: S311 - jitter needs no secrecy

    def write(self, line: str) -> None:
        """Write one line to the log. Python's `print` would pass the line to JavaScript byte by byte."""
        import js

        js.console.log(line)
