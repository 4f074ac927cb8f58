"""Pauses between attempts to reach a server that does not answer.

The pauses between attempts to reach the server double, and half of each pause is random.
"""

import random
import time
from collections.abc import Callable
from typing import Final

from .errors import ServerRefused, Unreachable

FIRST_SECONDS: Final = 0.5
MOST_SECONDS: Final = 15.0


class Backoff:
    """Decides the pauses between attempts.

    `patience_seconds` is for how long attempts continue after the first failure since the last success.
    """

    def __init__(
        self,
        patience_seconds: float,
        *,
        sleep: Callable[[float], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience = patience_seconds
        self._sleep = sleep or time.sleep
        self._clock = clock
        self._failed_at: float | None = None
        self._failures = 0

    @property
    def is_away(self) -> bool:
        """Whether the latest attempt failed."""
        return self._failures > 0

    def succeed(self) -> None:
        """Record that the server answered an attempt.

        After an answered attempt, the pauses between failed attempts begin with the shortest again.
        """
        self._failed_at, self._failures = None, 0

    def pause(self, error: Unreachable | ServerRefused) -> float:
        """Return the seconds to wait before the next attempt to reach the server.

        Raises `error` if the wait would exceed the patience.
        """
        now = self._clock()
        if self._failed_at is None:
            self._failed_at = now
        asked = error.retry_seconds if isinstance(error, ServerRefused) else None
        # The random half keeps clients that lost the server at the same moment from returning together. The random
        # number is not for cryptography.
        own: float = min(MOST_SECONDS, FIRST_SECONDS * 2**self._failures) * (0.5 + random.random() / 2)  # noqa: S311
        seconds = max(own, asked or 0.0)
        if now + seconds - self._failed_at > self._patience:
            raise error
        self._failures += 1
        return seconds

    def wait(self, seconds: float) -> None:
        """Wait."""
        self._sleep(seconds)
