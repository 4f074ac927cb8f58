"""Tests the simulated limiter of requests: fixed windows in each location, counts that lag, and faults."""

import asyncio
from typing import Any

from simulator.platform.app import Env
from simulator.platform.binding_port import JsError
from simulator.platform.rate_limits import RateLimit
from simulator.platform.world import World
from src.kernel.domain import limits
from tests.simulator.toy_app import ToyApp, play

PERIOD = 60


async def _limit(env: Env, key: str, _ctx: Any) -> Any:
    try:
        async with asyncio.timeout(100):
            return (await env.RATE_LIMITER.limit({"key": key}))["success"]
    except (JsError, TimeoutError) as error:
        return type(error)


APP = ToyApp(fetch=_limit)


def answers(rate_limit: RateLimit, keys: str, *, wait: float = 0.0, again: str = "", **options: Any) -> list[Any]:

    async def scenario(world: World) -> list[Any]:
        first = [await world.fetch(key) for key in keys]
        await asyncio.sleep(wait)
        return first + [await world.fetch(key) for key in again]

    given: dict[str, Any] = {"rate_limit": rate_limit, "slots": 1} | options
    return play(APP, scenario, **given)


def test_isolates_of_a_location_share_a_count_and_locations_do_not():
    def passed(locations: int) -> list[int]:
        rate_limit = RateLimit(3, PERIOD, locations=locations)
        return [answers(rate_limit, "a" * 20, seed=seed, slots=6).count(True) for seed in range(20)]

    assert passed(1).count(3) >= 18  # In at most two seeds, a new window begins between two requests.
    assert passed(2).count(6) >= 15  # In at most five seeds, all isolates are in one location.


def test_a_count_that_lags_lets_more_through_and_never_less():
    lagging = [answers(RateLimit(3, PERIOD, lag_seconds=9), "a" * 30, seed=seed, slots=3) for seed in range(20)]
    assert max(seen.count(True) for seen in lagging) > 6
    assert all(seen[:3] == [True] * 3 for seen in lagging)
    heard = RateLimit(4, PERIOD, lag_seconds=1)
    for seed in range(20):
        seen = answers(heard, "a" * 30, seed=seed, slots=3, wait=2, again="a" * 12)
        assert seen[33:].count(True) <= 4, seed  # by now each isolate knows all counts, but a new window may have begun


def test_the_period_is_the_platforms():
    """The campaign's limiter has the period on which the Worker's `Retry-After` is based."""
    assert RateLimit(1).period_seconds == limits.REQUEST_PERIOD_SECONDS
