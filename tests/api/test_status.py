"""GET /api/async-status, to the letter in each environment, and GET /api/ai-status."""

import json
from dataclasses import replace

import pytest

from src.core.limits import FREE_PLAN_DAY
from src.core.settings import Settings
from src.http.services import BoundRoutes
from src.inference.demo import DemoProvider
from src.inference.protocol import Health
from tests.support.api_bench import QUEUES, ApiBench, data
from tests.support.sqlite_d1 import NETWORK_LOST, ROWS_USED_UP

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
    """The answer is the contract's, field for field and in its order."""
    bench = ApiBench(bound=bound)
    reply = bench.call("GET", "/api/async-status")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.body == json.dumps(json.loads(LETTER[bound]))
    bench.close()


@pytest.mark.parametrize("bound", LETTER, ids=["top level", "free", "direct"])
@pytest.mark.parametrize("migrated", [True, False])
def test_unhealthy(bound: BoundRoutes, migrated: bool) -> None:
    """Without D1, or without its tables, the answer is 503 and says what to run; the rest stays as it is."""
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
    """The local runtime's count."""

    async def read(self) -> dict[str, object]:
        return dict(USED)


def test_verbose() -> None:
    """`verbose=1` adds what was used of each allowance, and logs it; `verbose=0` is the plain answer."""
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
    """A deployed Worker cannot know what its account has used, and says null instead of a number that is too small."""
    assert data(bench.call("GET", "/api/async-status?verbose=1"))["usage"] is None
    refused = bench.call("GET", "/api/async-status?verbose=yes")
    assert (refused.status, data(refused)["errors"][0]["field"]) == (422, "verbose")


def test_rows_used_up() -> None:
    """When the day's rows are used up, the answer says that, and to come back after midnight UTC."""
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


class Ailing(DemoProvider):
    """A provider in trouble."""

    async def probe(self) -> Health:
        """Say so."""
        return Health("unavailable", "no connection")


def test_model() -> None:
    """The model's state is always answered with 200, and names provider, model and time."""
    bench = ApiBench(settings=Settings(provider="demo", model="chosen"), provider=Ailing())
    reply = bench.call("GET", "/api/ai-status")
    assert reply.status == 200
    assert data(reply) == {
        "status": "unavailable",
        "provider": "demo",
        "model": "chosen",
        "checkedAt": "2026-09-21T14:13:20.000Z",
        "detail": "no connection",
    }
    bench.close()


def test_default_model(bench: ApiBench) -> None:
    """Without AI_MODEL the provider's own default is named."""
    shown = data(bench.call("GET", "/api/ai-status"))
    assert (shown["status"], shown["model"]) == ("healthy", DemoProvider().default_model)
