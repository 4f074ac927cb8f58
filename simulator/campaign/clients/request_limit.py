"""Checks that the limiter of requests counts each tenant's requests apart, and that a refused request does nothing."""

from __future__ import annotations

import json
from bisect import insort
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from simulator.campaign.clients.tenants import tenant_of
from simulator.engine.fault_kinds import RATE_LIMITER
from src.kernel.api.base.messages import Reply
from src.kernel.api.base.problems import LIMIT_REACHED
from src.kernel.store.keys import FIND_KEY

if TYPE_CHECKING:
    from simulator.campaign.subject.arrivals import Arrival
    from simulator.platform.world import World

STATUS_PATHS = ("/api/async-status", "/api/ai-status")
_WAY_SECONDS = 1.0  # A call takes fewer seconds than this from an isolate to the limiter.


def is_refusal(reply: Reply) -> bool:
    """Whether an answer is a refusal by the limit of requests."""
    return reply.status == 429 and _is_of_requests(json.loads(reply.body))


def _is_of_requests(told: dict[str, Any]) -> bool:
    """Whether a 429 answer names the limit of requests.

    A 429 answer of `/v1` names no limit: it counts as well, because clients of `/v1` have no other limit in the runs.
    """
    return told.get("limit") == "requests" or _code(told.get("error") or {}) == LIMIT_REACHED.code


def _code(told: dict[str, Any]) -> object:
    return told.get("code")


class RequestLimit:
    """The requests of each tenant, identified by its API key.

    `broken` is called with each violation of the limit's promises.
    """

    def __init__(self, world: World, broken: Callable[[str], None]) -> None:
        self._world = world
        self._broken = broken
        self._settings = None if world.rate_limiter is None else world.rate_limiter.settings
        self._asked: dict[str, list[float]] = defaultdict(list)  # by tenant, seconds
        self._passed: dict[str, list[float]] = defaultdict(list)

    def refuses(self, told: dict[str, Any]) -> bool:
        """Whether an answer is a refusal by the limit of requests; without a limiter no answer of `/v1` is one."""
        return told.get("limit") == "requests" or (self._settings is not None and _is_of_requests(told))

    def counting(self, arrival: Arrival) -> None:
        """Record that the Worker calls the limiter for a request."""
        arrival.asked_at = self._world.loop.now()
        self._asked[tenant_of(arrival.headers)].append(arrival.asked_at)

    def answered(self, arrival: Arrival, reply: Reply, told: dict[str, Any]) -> bool:
        """Check an answer of the Worker. Returns whether the answer is a refusal by the limit of requests."""
        if self._settings is None:
            return False
        what = f"{arrival.method} {arrival.url}"
        is_refused = reply.status == 429 and _is_of_requests(told)
        if arrival.url.endswith(STATUS_PATHS) and (is_refused or arrival.asked_at is not None):
            self._broken(f"{what} was counted as a tenant's request")
        if is_refused != (arrival.allowed is False):
            self._broken(f"{what} was answered with {reply.status}, and the limiter said {arrival.allowed}")
        if is_refused:
            self._check_refusal(arrival, reply, told, what)
        elif arrival.asked_at is not None and arrival.allowed:
            self._check_passage(arrival, arrival.asked_at, what)
        return is_refused

    def _check_refusal(self, arrival: Arrival, reply: Reply, told: dict[str, Any], what: str) -> None:
        if LIMIT_REACHED.code not in {_code(told), _code(told.get("error") or {})}:
            self._broken(f"{what} was refused by the limit of requests as {_code(told)}")
        assert self._settings is not None
        seconds = reply.headers.get("Retry-After")
        if seconds != f"{self._settings.period_seconds:.0f}":
            self._broken(f"{what} was refused by the limit of requests with Retry-After: {seconds}")
        others = [statement for call in arrival.sent for statement in call if statement != FIND_KEY.sql]
        if others:
            self._broken(f"{what} was refused by the limit of requests after {others[0].split()[:3]}")
        if arrival.calls != len(arrival.sent) + 1:
            self._broken(f"{what} was refused by the limit of requests and did more than ask for its key and the limit")
        if arrival.asked_at is None:
            return
        since, until = arrival.asked_at - self._settings.period_seconds - _WAY_SECONDS, arrival.asked_at + _WAY_SECONDS
        tenant = tenant_of(arrival.headers)
        own = sum(since <= at <= until for at in self._asked[tenant])
        if own <= self._settings.limit:
            self._broken(f"{what} by {tenant} was refused: {own} requests of its own, {self._settings.limit} allowed")

    def _check_passage(self, arrival: Arrival, asked_at: float, what: str) -> None:
        """Check that no more requests pass than two windows allow, if no count lags and the limiter has no faults."""
        settings, tallies = self._settings, self._world.faults.tallies
        assert settings is not None
        if settings.lag_seconds or any(tallies[name].fired for name in RATE_LIMITER):
            return
        passed = self._passed[tenant_of(arrival.headers)]
        insort(passed, asked_at)
        most = 2 * settings.limit * settings.locations
        least_seconds = settings.period_seconds - _WAY_SECONDS
        if any(last - first < least_seconds for first, last in zip(passed, passed[most:], strict=False)):
            self._broken(f"{what}: more than {most} requests in one period were let through")
