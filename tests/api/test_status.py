"""GET /api/async-status, to the letter in each environment, and GET /api/ai-status."""

import json

import pytest

from src.core.settings import Settings
from src.http.ports import Bound
from src.inference.demo import DemoProvider
from src.inference.protocol import Health
from tests.support.api import QUEUES, Bench, data
from tests.support.sqlite_d1 import NETWORK_LOST

OBJECTS = Bound(queue=False, dead_letter_queue=False, objects=True)
NEITHER = Bound(queue=False, dead_letter_queue=False, objects=False)

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
def test_service(bound: Bound) -> None:
    """The answer is the contract's, field for field and in its order."""
    bench = Bench(bound=bound)
    reply = bench.call("GET", "/api/async-status")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json")
    assert reply.body == json.dumps(json.loads(LETTER[bound]))
    bench.close()


@pytest.mark.parametrize("bound", LETTER, ids=["top level", "free", "direct"])
@pytest.mark.parametrize("migrated", [True, False])
def test_unhealthy(bound: Bound, migrated: bool) -> None:
    """Without D1, or without its tables, the answer is 503 and says what to run; the rest stays as it is."""
    bench = Bench(bound=bound, migrated=migrated)
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


class Ailing(DemoProvider):
    """A provider in trouble."""

    async def probe(self) -> Health:
        """Say so."""
        return Health("unavailable", "no connection")


def test_model() -> None:
    """The model's state is always answered with 200, and names provider, model and time."""
    bench = Bench(settings=Settings(provider="demo", model="chosen"), provider=Ailing())
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


def test_default_model(bench: Bench) -> None:
    """Without AI_MODEL the provider's own default is named."""
    shown = data(bench.call("GET", "/api/ai-status"))
    assert (shown["status"], shown["model"]) == ("healthy", DemoProvider().default_model)
