"""`GET /api/async-status`, whose text the contract defines exactly for each environment, and `GET /api/ai-status`."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from src.composition import CATALOGUE
from src.features.demo.demo import DemoProvider
from src.features.operate.checks import DatabaseCheck
from src.kernel.api.base.messages import Reply
from src.kernel.api.base.services import BoundRoutes
from src.kernel.api.router import handle
from src.kernel.calls.protocol import Health
from src.kernel.domain import limits
from src.kernel.domain.limits import FREE_PLAN_DAY
from src.kernel.domain.meter import Meter
from src.kernel.domain.settings import Settings
from src.kernel.store.d1 import Database
from tests.support.api_bench import QUEUES, ApiBench, BenchRequest, data
from tests.support.invocations import task_store
from tests.support.sqlite_d1 import NETWORK_LOST, ROWS_USED_UP
from tests.support.tiers import sized

OBJECTS = BoundRoutes(queue=False, dead_letter_queue=False, objects=True)
NEITHER = BoundRoutes(queue=False, dead_letter_queue=False, objects=False)

LETTER = {
    QUEUES: """{
  "status": "healthy",
  "service": "Cloudflare Queues Async Processing",
  "architecture": "Workers + D1 + Queues",
  "queueCheck": {"hasAIQueue": true, "hasAIDLQ": true, "hasDurableObjects": true}
}""",
    OBJECTS: """{
  "status": "healthy",
  "service": "Cloudflare Durable Objects Async Processing",
  "architecture": "Workers + D1 + Durable Objects",
  "queueCheck": {"hasAIQueue": false, "hasAIDLQ": false, "hasDurableObjects": true}
}""",
    NEITHER: """{
  "status": "degraded",
  "service": "Direct Async Processing",
  "architecture": "Workers + D1",
  "queueCheck": {"hasAIQueue": false, "hasAIDLQ": false, "hasDurableObjects": false}
}""",
}


@pytest.mark.parametrize("bound", LETTER, ids=["top level", "free", "direct"])
def test_service(bound: BoundRoutes) -> None:
    """The status is exactly the text in the contract, with its fields in the contract's order."""
    bench = ApiBench(bound=bound)
    reply = bench.call("GET", "/api/async-status")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.body == json.dumps(json.loads(LETTER[bound]))
    bench.close()


@pytest.mark.parametrize("bound", LETTER, ids=["top level", "free", "direct"])
@pytest.mark.parametrize("migrated", [True, False])
def test_unhealthy(bound: BoundRoutes, migrated: bool) -> None:
    """Without D1, or without its tables, the status is answered 503, and says what to run."""
    bench = ApiBench(bound=bound, migrated=migrated)
    if migrated:
        bench.database.fail(NETWORK_LOST, times=10)
    reply = bench.call("GET", "/api/async-status")
    shown = data(reply)
    assert (reply.status, shown["status"]) == (503, "unhealthy")
    assert int(reply.headers["Retry-After"]) >= 1
    assert "make dev" in shown["detail"]
    assert "npx wrangler d1 migrations" in shown["detail"]
    assert ("apply" in shown["detail"]) == (not migrated)
    healthy = json.loads(LETTER[bound])
    assert {name: shown[name] for name in healthy if name != "status"} == {
        name: value for name, value in healthy.items() if name != "status"
    }
    bench.close()


USED = {
    "day": "2026-09-21",
    "requests": 12,
    "rowsRead": 3,
    "rowsWritten": 29,
    "queueOperations": 3,
    "objectRequests": 2,
    "objectRowsWritten": 5,
    "objectGbSeconds": 1.2345,
}


class Counted:
    async def read(self) -> dict[str, object]:
        return dict(USED)


def test_verbose() -> None:
    bench = ApiBench(keys=True)
    bench.api = replace(bench.api, day_use=Counted())
    plain = bench.call("GET", "/api/async-status?verbose=0")
    assert plain.body == json.dumps(json.loads(LETTER[QUEUES]))
    shown = data(bench.call("GET", "/api/async-status?verbose=1"))
    usage = shown.pop("usage")
    assert shown == json.loads(LETTER[QUEUES])
    assert usage.pop("day") == "2026-09-21"
    assert usage["rowsWritten"] == {"used": 29, "limit": 100_000}
    assert usage["objectGbSeconds"] == {"used": 1.2, "limit": 13_000}
    assert {name: allowance["limit"] for name, allowance in usage.items()} == FREE_PLAN_DAY
    assert json.loads(bench.log_lines[-1]) == {"event": "day_use", "request": "bench", **USED}
    bench.close()


def test_verbose_without_a_count(bench: ApiBench) -> None:
    """Its own count would be too small, so it shows null."""
    assert data(bench.call("GET", "/api/async-status?verbose=1"))["usage"] is None
    refused = bench.call("GET", "/api/async-status?verbose=yes")
    assert (refused.status, data(refused)["errors"][0]["field"]) == (422, "verbose")


def test_rows_used_up() -> None:
    """When D1's daily rows are used up, the status shows this, and its Retry-After is the time until midnight UTC."""
    bench = ApiBench()
    bench.database.fail(ROWS_USED_UP)
    reply = bench.call("GET", "/api/async-status")
    assert (reply.status, data(reply)["status"]) == (503, "unhealthy")
    assert "midnight UTC" in data(reply)["detail"]
    seconds_to_midnight = 24 * 3600 - (14 * 3600 + 13 * 60 + 20)
    assert reply.headers["Retry-After"] == str(seconds_to_midnight)
    bench.database.fail(ROWS_USED_UP)
    submitted = bench.call("POST", "/api/tasks", {"input": "text"})
    assert (submitted.status, data(submitted)["code"]) == (503, "database_quota_exhausted")
    assert submitted.headers["Retry-After"] == str(seconds_to_midnight)
    bench.close()


GIVEN_UP = limits.STORE_SECONDS_OF_REQUEST
# How many requests come at once, and how many come each tenth of a second. The number of D1 calls depends on neither.
AT_ONCE, EACH_TENTH = sized(quick=(200, 3), test=(1_000, 10), campaign=(1_000, 10))


async def crowd(bench: ApiBench, count: int) -> list[Reply]:
    requests = [BenchRequest("GET", "http://h/api/async-status") for _ in range(count)]
    return await asyncio.gather(*(handle(request, bench.api, CATALOGUE) for request in requests))


@pytest.fixture
def asked() -> Iterator[ApiBench]:
    """Make a deployment with the production time limit for D1 calls of requests."""
    made = ApiBench()
    made.api = replace(made.api, store=task_store(Database(made.database, Meter(), seconds=GIVEN_UP)))
    yield made
    made.close()


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 1), (0.9, 1), (3.5, 4), (9.5, 10)])
def test_a_crowd_costs_a_call_for_each_second_that_the_database_takes(
    asked: ApiBench, seconds: float, calls: int
) -> None:
    asked.database.seconds = seconds
    assert {reply.status for reply in asked.run(crowd(asked, AT_ONCE))} == {200}
    assert asked.database.batches <= calls


@pytest.mark.parametrize("seconds", [0.0, 0.3, 3.0])
def test_a_minute_of_requests_costs_a_call_a_second(asked: ApiBench, seconds: float) -> None:
    asked.database.seconds = seconds

    async def minute() -> set[int]:
        crowds = []
        for _ in range(600):
            crowds.append(asyncio.ensure_future(crowd(asked, EACH_TENTH)))
            await asyncio.sleep(0.1)
        return {reply.status for replies in await asyncio.gather(*crowds) for reply in replies}

    assert asked.run(minute()) == {200}
    assert 50 <= asked.database.batches <= 61


def test_the_last_answer_is_shown_while_the_next_is_out(asked: ApiBench) -> None:
    """Of several status requests, only the one that asks the database waits for its answer."""

    async def story() -> tuple[list[float], list[int]]:
        await crowd(asked, 1)
        asked.database.seconds = 1_000.0
        hanging, took = [], []
        for _ in range(2):
            await asyncio.sleep(limits.DATABASE_CHECK_SECONDS)
            hanging.append(asyncio.ensure_future(crowd(asked, 1)))
            await asyncio.sleep(0.1)
            began = asked.loop.time()
            assert [reply.status for reply in await crowd(asked, 10)] == [200] * 10
            took.append(asked.loop.time() - began)
        return took, [reply.status for (reply,) in await asyncio.gather(*hanging)]

    assert asked.run(story()) == ([0.0, 0.0], [503, 503])


def test_no_old_answer_is_shown(asked: ApiBench) -> None:
    async def story() -> set[int]:
        await crowd(asked, 1)
        await asyncio.sleep(3_600.0)
        asked.database.seconds = 1_000.0
        return {reply.status for reply in await crowd(asked, 100)}

    assert asked.run(story()) == {503}


def test_a_check_whose_request_died_holds_nobody_up(asked: ApiBench) -> None:
    """The runtime may end an invocation silently."""

    async def dead() -> None:
        await asyncio.sleep(1e9)

    async def story() -> float:
        died = asyncio.ensure_future(asked.api.isolate.of(DatabaseCheck).read(dead))
        await asyncio.sleep(0)
        (reply,) = await crowd(asked, 1)
        died.cancel()
        assert reply.status == 200
        return asked.loop.time()

    assert asked.run(story()) <= limits.DATABASE_CHECK_SECONDS + 0.1


class Ailing(DemoProvider):
    """A provider in trouble."""

    async def probe(self) -> Health:
        return Health("unavailable", "no connection")


def test_model() -> None:
    bench = ApiBench(settings=Settings(provider="demo", model="chosen"), provider=Ailing())
    reply = bench.call("GET", "/api/ai-status")
    assert reply.status == 200
    assert data(reply) == {
        "status": "unavailable",
        "provider": "demo",
        "model": "chosen",
        "checkedAt": "2026-09-21T14:13:20.000Z",
        "detail": "no connection",
        "since": None,
        "waiting": 0,
        "codes": [],
    }
    bench.close()


def test_what_a_later_check_found_is_newer(asked: ApiBench) -> None:
    """If a status check hangs and then fails, its failure does not replace the result of a check that began later."""
    asked.database.seconds = 1_000.0

    async def story() -> list[int]:
        hanging = asyncio.ensure_future(crowd(asked, 1))
        await asyncio.sleep(GIVEN_UP - 0.5)
        asked.database.seconds = 0.0
        later, earlier, now = await crowd(asked, 1), await hanging, await crowd(asked, 1)
        return [reply.status for (reply,) in (later, earlier, now)]

    assert asked.run(story()) == [200, 503, 200]
    assert asked.database.batches == 2


def test_a_crowd_before_a_silent_database(asked: ApiBench) -> None:
    """If D1 is silent, many status requests make one D1 call a second until the first call is given up."""
    asked.database.seconds = 1_000.0
    assert {reply.status for reply in asked.run(crowd(asked, AT_ONCE))} == {503}
    assert asked.loop.time() <= 2 * GIVEN_UP
    assert asked.database.batches <= GIVEN_UP
