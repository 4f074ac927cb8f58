"""Reads a deployment's bindings and variables from `env`. What is not configured is absent there."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from ..composition import Bindings
from ..store.database import D1
from .ai import BoundAi
from .crossing import unwrapped
from .d1 import BoundD1
from .objects import namespace
from .queues import producer
from .webhook_courier import FetchCourier

if TYPE_CHECKING:
    from js import Env, Fetcher, RateLimit


def bindings(env: "Env") -> Bindings:
    """Collect the bindings, None for those that the environment has not."""
    return Bindings(
        database=_database(env.DB),
        queue=producer(env.AI_QUEUE) if hasattr(env, "AI_QUEUE") else None,
        dead_letters=getattr(env, "AI_DLQ", None),
        processors=namespace(env.AI_PROCESSOR) if hasattr(env, "AI_PROCESSOR") else None,
        coordinators=namespace(env.BATCH_COORDINATOR) if hasattr(env, "BATCH_COORDINATOR") else None,
        ai=BoundAi(env.AI) if hasattr(env, "AI") else None,
        day_use=LocalDayUse(env.USAGE_METER) if hasattr(env, "USAGE_METER") else None,
        rate_limiter=BoundRateLimiter(env.RATE_LIMITER) if hasattr(env, "RATE_LIMITER") else None,
        courier=FetchCourier(unwrapped(env.WEBHOOK_NETWORK)) if hasattr(env, "WEBHOOK_NETWORK") else None,
    )


def _database(binding: D1) -> D1:
    """Return the binding of D1. One that is not the SDK's, as in the simulation, is what the store uses already."""
    raw = unwrapped(binding)
    return raw if raw is binding else cast("D1", BoundD1(raw))  # it takes the statements that it has made, no others


class LocalDayUse:
    """Implements `http.services.DayUse` over the binding that only the local runtime has, see `local/usage.mjs`."""

    def __init__(self, binding: "Fetcher") -> None:
        self._binding = binding

    async def read(self) -> Mapping[str, object]:
        """Read the day's use."""
        response = await self._binding.fetch("http://usage.local/")
        found: Mapping[str, object] = await response.json()
        return found


class BoundRateLimiter:
    """Implements `http.services.RateLimiter` over Cloudflare's rate-limiting binding."""

    def __init__(self, binding: "RateLimit") -> None:
        self._binding = binding

    async def allows(self, key: str) -> bool:
        """Count a request."""
        outcome = await self._binding.limit({"key": key})
        return bool(outcome["success"])


def variable(env: "Env", name: str) -> object:
    """Read one variable or secret, None if it is not set."""
    return getattr(env, name, None)
