"""A server that counts as Cloudflare's AI Gateway: what it sees of calls, its cache, and its used-up budget.

No test has called Cloudflare's own gateway.
"""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from src.kernel.domain import limits
from src.kernel.domain.prices import Price, written
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.doors_by_variable import doors
from tests.support.model_plan import Plan, from_cache, status
from tests.support.model_server import ModelServer
from tests.support.wired_worker import write_wired_worker

pytestmark = pytest.mark.runtime
SMALL = {"maxChars": 40}
PRICES = json.dumps({"m-1": {"input": "2", "output": "8"}})


@pytest.fixture(scope="module")
def client(model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    project = write_wired_worker(tmp_path_factory.mktemp("project"))
    flags = openai(model.base_url, AI_MODEL="m-1", PLAN="paid", PRICES=PRICES, MODEL_PATIENCE_SECONDS=0)
    state = tmp_path_factory.mktemp("state")
    with DevServer(state, *flags, *doors(gateway=True), project=project) as server, Client(server.url) as made:
        yield made


@pytest.fixture(autouse=True)
def _fresh(model: ModelServer):
    model.plan = Plan()
    model.wait_until_idle()
    model.reset()


@pytest.mark.parametrize("chunks", [3, limits.LANES_FROM_CHUNKS], ids=["own worker", "lanes"])
def test_the_gateway_knows_the_task_and_its_cache_costs_nothing(client: Client, model: ModelServer, chunks: int):
    """Lanes name the task, too. A chunk says that it came from the cache, and each call asks for one attempt."""
    model.plan = Plan(decide=lambda call: from_cache() if call.number % 3 == 1 else None)
    task = client.finished(client.submit(f"{uuid.uuid4()}\n\n{paragraphs(chunks)}", chunk=SMALL)["id"])
    assert task["status"] == "completed"
    calls = model.calls()
    for call in calls:
        assert call.gateway.keys() == {"cf-aig-max-attempts", "cf-aig-metadata"}
        assert call.gateway["cf-aig-max-attempts"] == "1"
        assert json.loads(call.gateway["cf-aig-metadata"]) == {"tenant": "local", "task": task["id"]}
    hits = [call for call in calls if call.number % 3 == 1]
    shown = client.chunks(task["id"])
    assert [chunk.get("cached") for chunk in shown].count(True) == len(hits)
    price = Price(2 * 10**9, 2 * 10**9, 8 * 10**9)
    paid = sum(price.cost(call.input_tokens, call.output_tokens) for call in calls if call not in hits)
    assert task["usage"]["cost"] == {"amount": written(paid), "currency": "USD", "inDoubt": written(0)}
    lanes = {chunk["lane"] for chunk in shown}
    assert (len(lanes) > 1) is (chunks >= limits.LANES_FROM_CHUNKS)


def test_a_used_up_budget_fails_a_task_or_waits_for_its_reset(client: Client, model: ModelServer):
    model.plan = Plan(decide=lambda call: status(429, error_code="2045"))
    failed = client.finished(client.submit("one")["id"])
    assert (failed["status"], failed["error"]["code"]) == ("failed", "model_quota_exhausted")
    assert failed["usage"]["modelCalls"] == 1
    model.plan = Plan(decide=lambda call: status(429, error_code="2045", retry_after="7200"))
    waiting = client.submit("two")["id"]
    wait = eventually(lambda: client.task(waiting)["waitingFor"])
    assert wait["reason"] == "quota"
    left = (datetime.fromisoformat(wait["until"]) - datetime.now(UTC)).total_seconds()
    assert 7_000 < left < 7_200 + limits.RESET_SPREAD_SECONDS + 60
    assert client.task(waiting)["usage"]["cost"]["amount"] == written(0)
