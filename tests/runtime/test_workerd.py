"""Tests what only workerd can show of an isolate: the order of ready callbacks, and the abort signal of Workers AI."""

import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan, empty, from_cache, hang, ok, status
from tests.support.model_server import ModelServer
from tests.support.wired_worker import HANDLES, write_wired_worker

pytestmark = pytest.mark.runtime


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevServer]:
    project = write_wired_worker(tmp_path_factory.mktemp("project"))
    with DevServer(tmp_path_factory.mktemp("state"), project=project) as server:
        yield server


def test_more_than_a_thousand_ready_handles_keep_their_order(wired: DevServer):
    """Earlier code ran some of 3,000 callbacks through timers, and newer ones overtook them."""
    # The Worker's event loop has read its settings before the request that counts.
    httpx.get(f"{wired.url}/api/async-status", timeout=20)
    order = httpx.get(f"{wired.url}/_test/order", timeout=60).json()
    assert order[:HANDLES] == list(range(HANDLES))
    assert [number for number in order if number != "new"] == list(range(2 * HANDLES))


def test_a_call_whose_time_is_up_ends_at_once(model: ModelServer, wired: DevServer) -> None:
    url = f"{model.base_url}/chat/completions"

    def call(seconds: float) -> str:
        return httpx.post(f"{wired.url}/_test/ai", json={"url": url, "seconds": seconds}, timeout=60).text

    model.plan = Plan(decide=lambda seen: ok("fine"))
    assert call(30) == "fine"
    (seen,) = model.calls()
    assert (seen.system, seen.user) == ("do", "the text")
    model.plan = Plan(decide=lambda seen: hang())
    said: list[str] = []
    waiting = threading.Thread(target=lambda: said.append(call(2)))
    waiting.start()
    model.wait_for_in_flight(1)
    model.wait_until_idle(8)
    assert said == []  # The invocation is still running, so it was the signal that closed the connection.
    waiting.join()
    assert said == ["model_timeout"]


def test_a_call_through_a_gateway_reads_the_answer_with_its_headers(model: ModelServer, wired: DevServer) -> None:
    """The binding is asked for its raw answer, which says whether it came from the cache, and for one attempt."""
    url, metadata = f"{model.base_url}/chat/completions", {"tenant": "acme", "task": "0190"}
    gateway = {"id": "mine", "metadata": metadata, "retries": {"maxAttempts": 1}, "skipCache": False}

    def call(seconds: float = 30) -> str:
        wanted = {"url": url, "seconds": seconds, "gateway": gateway}
        return httpx.post(f"{wired.url}/_test/ai", json=wanted, timeout=60).text

    for behaviour, said in (
        (ok("fine"), "fine"),
        (from_cache("known"), "cached known"),
        (empty(), "model_reply_malformed"),
        (status(429, error_code="2045"), "model_quota_exhausted"),
    ):
        model.plan = Plan(by_number={len(model.calls()) + 1: behaviour})
        assert call() == said
    model.plan = Plan(decide=lambda seen: hang())
    assert call(2) == "model_timeout"
    model.wait_until_idle(8)
