"""Reads a deployment's bindings and variables from `env`, in which those that are not configured are missing."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..composition import Bindings
from ..kernel.domain.errors import ConfigurationError
from .ai import BoundAi
from .crossing import behind, unwrapped
from .d1 import BoundD1
from .http_client import FetchCourier
from .objects import BoundNamespace
from .queues import BoundQueue
from .r2 import BoundR2

if TYPE_CHECKING:
    from js import Env, Fetcher, RateLimit

_DATABASE = 'a binding to a D1 database, and is missing: put [[d1_databases]] with binding = "DB" into wrangler.toml'


def bindings(env: "Env") -> Bindings:
    """Collect the deployment's bindings. A field is None if `env` lacks its binding.

    Those of every invocation are read past the SDK's wrapper, which makes a dozen calls into JavaScript for each.
    """
    return Bindings(
        database=_database(env),
        queue=_bound(env, "AI_QUEUE", BoundQueue),
        dead_letters=_bound(env, "AI_DLQ", BoundQueue),
        processors=_bound(env, "AI_PROCESSOR", BoundNamespace),
        coordinators=_bound(env, "BATCH_COORDINATOR", BoundNamespace),
        ai=BoundAi(env.AI) if hasattr(env, "AI") else None,
        day_use=LocalDayUse(env.USAGE_METER) if hasattr(env, "USAGE_METER") else None,
        rate_limiter=BoundRateLimiter(env.RATE_LIMITER) if hasattr(env, "RATE_LIMITER") else None,
        blobs=_bound(env, "BLOBS", BoundR2),
        courier=FetchCourier(unwrapped(env.WEBHOOK_NETWORK)) if hasattr(env, "WEBHOOK_NETWORK") else None,
    )


def _database(env: "Env") -> Any:
    found = _bound(env, "DB", BoundD1)
    if found is None:
        raise ConfigurationError("DB", _DATABASE)
    return found


def _bound(env: "Env", name: str, kind: Callable[[Any], Any]) -> Any:
    """Return a binding as `kind`, or unchanged from an `env` without the SDK's wrapper, as in the simulation."""
    raw = behind(env)
    binding = getattr(env if raw is None else raw, name, None)
    return binding if raw is None or binding is None else kind(binding)


class LocalDayUse:
    """Implements `http.base.services.DayUse` with a binding of the local runtime only: `local/runtime/usage.mjs`."""

    def __init__(self, binding: "Fetcher") -> None:
        self._binding = binding

    async def read(self) -> Mapping[str, object]:
        """Read how much of the day's allowances is used."""
        response = await self._binding.fetch("http://usage.local/")
        found: Mapping[str, object] = await response.json()
        return found


class BoundRateLimiter:
    """Implements `http.base.services.RateLimiter` with Cloudflare's rate-limiting binding."""

    def __init__(self, binding: "RateLimit") -> None:
        self._binding = binding

    async def allows(self, key: str) -> bool:
        """Count a request under a key of the rate limiter, and return whether the request is within the limit."""
        outcome = await self._binding.limit({"key": key})
        return bool(outcome["success"])
