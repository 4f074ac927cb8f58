"""Simulates Cloudflare's rate-limiting binding: it counts by key and location, and isolates see these counts late.

Cloudflare calls the binding "permissive, eventually consistent": counters are cached on the machine that asks, and
updated in the background within one location. More requests than the limit may therefore pass, but never fewer.
Source:
developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit ("Locality", "Accuracy"). Cloudflare does not
describe the windows in which requests are counted. In the simulator the windows are fixed, like the local runtime's,
and begin at a different moment in each location.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from simulator.engine.loop import Loop
from simulator.platform.binding_port import JsError, Network, Pending, Port, Reply

SLOW_SECONDS = (0.2, 5.0)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """The binding's settings, in how many locations isolates run, and how many seconds an isolate's counts may lag."""

    limit: int
    period_seconds: float = 60.0
    locations: int = 1
    lag_seconds: float = 0.0


class RateLimitServer:
    """The limiter of one Worker in all its locations. `rng` draws the locations' windows and isolates' locations."""

    def __init__(self, settings: RateLimit, network: Network, rng: Random) -> None:
        self.settings = settings
        self._network = network
        self._rng = rng
        self._locations = [
            _Location(rng.uniform(0, settings.period_seconds), Counter()) for _ in range(settings.locations)
        ]

    def bind(self, port: Port) -> "RateLimitBinding":
        """Return the binding of a new isolate, which is in a location drawn at random."""
        return RateLimitBinding(
            self, port, _Cache(self.settings, self._rng.choice(self._locations), self._network.loop)
        )

    def serve(self, cache: "_Cache", key: str, sender: str, reply: Reply) -> None:
        """Count a request and answer it. A fault can make the answer fail, come late or never, or allow too much."""
        faults, loop = self._network.faults, self._network.loop
        allowed = cache.count(key) <= self.settings.limit
        if faults.fires("rate_limiter_failed", sender):
            reply(None, JsError("internal error"))
        elif not faults.fires("rate_limiter_hung", sender):
            outcome = {"success": allowed or faults.fires("rate_limiter_loose", sender)}
            if faults.fires("rate_limiter_slow", sender):
                loop.call_later(faults.between(*SLOW_SECONDS), reply, outcome, None, context=loop.outside)
            else:
                reply(outcome, None)


class RateLimitBinding:
    """The binding of the limiter in one isolate."""

    def __init__(self, server: RateLimitServer, port: Port, cache: "_Cache") -> None:
        self._server = server
        self._port = port
        self._cache = cache

    def limit(self, options: Mapping[str, str]) -> Pending:
        """Count a request under the option `key`.

        The reply's `success` says whether the request is within the limit.
        """
        key, sender = options["key"], self._port.isolate.name
        return self._port.call("ratelimit.limit", lambda reply: self._server.serve(self._cache, key, sender, reply))


@dataclass(slots=True)
class _Location:
    """The counts of one location, by window and key. `phase_seconds` is when the location's first window begins."""

    phase_seconds: float
    counts: Counter[tuple[int, str]]


@dataclass(slots=True)
class _Count:
    """The count of one key of the limiter, as one isolate sees it.

    `believed` is the whole count, and `untold` is the part of it that the isolate's location does not know yet.
    `heard_at` is when the isolate last exchanged the count with its location (virtual seconds).
    """

    window: int
    heard_at: float
    believed: int = 0
    untold: int = 0


class _Cache:
    """The counts by which the limiter decides about an isolate's requests."""

    def __init__(self, settings: RateLimit, location: _Location, loop: Loop) -> None:
        self._settings = settings
        self._location = location
        self._loop = loop
        self._counts: dict[str, _Count] = {}

    def count(self, key: str) -> int:
        """Count one more request under the key.

        Returns how many requests there are in this window, as far as this isolate knows.
        """
        now, location = self._loop.now(), self._location
        window = int((now - location.phase_seconds) // self._settings.period_seconds)
        known = self._counts.get(key)
        if known is None or known.window != window:
            known = self._counts[key] = _Count(window, now)
        known.believed += 1
        known.untold += 1
        if now - known.heard_at >= self._settings.lag_seconds:
            location.counts[window, key] += known.untold
            known.believed, known.untold, known.heard_at = location.counts[window, key], 0, now
        return known.believed
