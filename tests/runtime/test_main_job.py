"""Tests submitting, waiting and reading on the real runtime, on each route, with the built-in provider."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from src.kernel.domain.version import MIGRATION, VERSION
from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client
from tests.support.dev_server import DevServer, eventually

pytestmark = pytest.mark.runtime
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STATUS = {
    "queue": {
        "status": "healthy",
        "service": "Cloudflare Queues Async Processing",
        "architecture": "Workers + D1 + Queues",
        "queueCheck": {"hasAIQueue": True, "hasAIDLQ": True, "hasDurableObjects": True},
    },
    "durable-object": {
        "status": "healthy",
        "service": "Cloudflare Durable Objects Async Processing",
        "architecture": "Workers + D1 + Durable Objects",
        "queueCheck": {"hasAIQueue": False, "hasAIDLQ": False, "hasDurableObjects": True},
    },
    "direct": {
        "status": "degraded",
        "service": "Direct Async Processing",
        "architecture": "Workers + D1",
        "queueCheck": {"hasAIQueue": False, "hasAIDLQ": False, "hasDurableObjects": False},
    },
}


@pytest.fixture(scope="module")
def demo(route: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A client of the Worker on one route. On the direct one cron, which ends long tasks, is frequent."""
    often = ("--cron-every", "2") if route == "direct" else ()
    server = DevServer(tmp_path_factory.mktemp("state"), *ENVIRONMENTS[route], *often)
    with server, Client(server.url) as client:
        yield client


@pytest.mark.parametrize("name", ["english.txt", "chinese.txt"])
def test_an_example_is_analysed(demo: Client, route: str, name: str):
    text = (EXAMPLES / name).read_text()
    accepted = demo.submit(text, metadata={"name": name})
    assert accepted["status"] == "pending"
    task = demo.finished(accepted["id"])
    assert (task["status"], task["route"], task["metadata"]) == ("completed", route, {"name": name})
    total = task["progress"]["total"]
    assert task["progress"] == {"total": total, "completed": total, "failed": 0, "truncated": 0}
    assert total > 1
    usage = task["usage"]
    assert (usage["modelCalls"], usage["minimumCalls"], usage["inDoubt"]) == (total, total, 0)
    chunks = demo.chunks(accepted["id"])
    assert "".join(text[chunk["start"] : chunk["end"]] for chunk in chunks) == text
    assert task["result"]["output"] == "\n\n".join(chunk["output"] for chunk in chunks)
    with_chunks = demo.task(accepted["id"], include="chunks")
    assert with_chunks["chunks"] == chunks


@pytest.mark.parametrize("reduce", ["merge", "none"])
def test_the_other_ways_to_reduce(demo: Client, reduce: str):
    text = (EXAMPLES / "english.txt").read_text()
    task = demo.finished(demo.submit(text, reduce=reduce, chunk={"maxChars": 1500})["id"])
    total = task["progress"]["total"]
    output = task["result"]["output"]
    assert task["usage"]["modelCalls"] == task["usage"]["minimumCalls"]
    if reduce == "none":
        assert len(output) == total == task["usage"]["modelCalls"]
    else:
        assert isinstance(output, str)
        assert output
        assert task["usage"]["modelCalls"] > total


def test_async_status_to_the_letter(demo: Client, route: str):
    answer = demo.http.get("/api/async-status")
    assert answer.status_code == 200
    assert answer.json() == STATUS[route]


def test_operators_read_metrics_history_and_schema(demo: Client, route: str):
    demo.finished(demo.submit("a task for the metrics")["id"])

    def ended() -> dict[str, float]:
        scrape = demo.http.get("/api/metrics").raise_for_status()
        assert scrape.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        samples = [one for family in text_string_to_metric_families(scrape.text) for one in family.samples]
        assert len(samples) > 100
        completed = [one for one in samples if one.labels.get("status") == "completed"]
        return {one.labels["route"]: one.value for one in completed if one.name == "onceover_tasks_ended_total"}

    eventually(lambda: ended()[route] >= 1)
    assert sum(five["completed"] for five in demo.http.get("/api/history").json()["buckets"]) >= 1
    shown = demo.http.get("/api/async-status?verbose=1").json()
    schema = {"known": MIGRATION, "applied": MIGRATION, "missing": [], "unknown": []}
    assert (shown["version"], shown["schema"]) == (VERSION, schema)


def test_ai_status(demo: Client):
    answer = demo.http.get("/api/ai-status").json()
    assert (answer["status"], answer["provider"], answer["model"]) == ("healthy", "demo", "demo-1")
