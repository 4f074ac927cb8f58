"""Tests in workerd that the abort signal of a Workers AI call is passed on by the SDK and ends the call."""

import threading
from pathlib import Path

import httpx
import pytest

from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan, hang, ok
from tests.support.model_server import ModelServer
from tests.support.wired_worker import WORKERS_AI, write_wired_worker

pytestmark = pytest.mark.runtime


def test_a_call_whose_time_is_up_ends_at_once(model: ModelServer, tmp_path: Path) -> None:
    """When a call of Workers AI times out, its connection closes at once; a call that is answered succeeds."""
    project = write_wired_worker(tmp_path / "project", WORKERS_AI)
    url = f"{model.base_url}/chat/completions"
    with DevServer(tmp_path / "state", project=project) as server:

        def call(seconds: float) -> str:
            return httpx.post(f"{server.url}/_test/ai", json={"url": url, "seconds": seconds}, timeout=60).text

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
