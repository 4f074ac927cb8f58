"""The last look at the model, shared for a while: anyone may ask for it, and the provider is not to notice."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ..core import limits
from ..inference.protocol import Health, Provider

_PAUSE_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Checked:
    """What a probe said, and when by the isolate's time, milliseconds since the epoch."""

    health: Health
    at_ms: int


class ModelCheck:
    """Probes at most once in MODEL_CHECK_SECONDS, however many ask."""

    def __init__(self) -> None:
        self._last: Checked | None = None
        self._done_at = 0.0
        self._began_at: float | None = None

    async def read(self, provider: Provider, now_ms: Callable[[], int]) -> Checked:
        """Return the last result, or probe. Those that come while another probes wait for its result, by the clock:
        the runtime lets no request await what belongs to another. A probe whose request died is given up in time."""
        clock = asyncio.get_running_loop().time
        while True:
            now = clock()
            if self._last is not None and now - self._done_at < limits.MODEL_CHECK_SECONDS:
                return self._last
            if self._began_at is None or now - self._began_at >= limits.MODEL_CHECK_SECONDS:
                return await self._probe(provider, now_ms, now)
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _probe(self, provider: Provider, now_ms: Callable[[], int], began_at: float) -> Checked:
        self._began_at = began_at
        try:
            health = await provider.probe()
        finally:
            self._began_at = None
        self._last = Checked(health, now_ms())
        self._done_at = asyncio.get_running_loop().time()
        return self._last
