"""Tests that Node.js and workerd do not wait for each other while many requests submit tasks and cron fires."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.support import metered
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.model_server import ModelServer
from tests.support.tiers import sized

pytestmark = pytest.mark.runtime
CONNECTIONS = 24
SUBMISSIONS = sized(quick=120, test=120, campaign=250)
CHUNKS = 3


def test_a_burst_beside_cron_hangs_nothing(tmp_path: Path):
    """120 tasks over 24 connections, beside cron: Node.js and workerd once waited for each other."""
    with (
        ModelServer(api_key="test-key") as model,
        DevServer(
            tmp_path / "state", *("--env", "free", "--limits", "off", "--cron-every", "1"), *openai(model.base_url)
        ) as server,
    ):

        def submit(number: int) -> str:
            body = {"input": paragraphs(CHUNKS), "chunk": {"maxChars": 40}, "metadata": {"number": number}}
            with httpx.Client(base_url=server.url, timeout=120) as http:
                answer = http.post("/api/tasks", json=body, headers={"idempotency-key": f"burst-{number}"})
            assert answer.status_code == 202, answer.text
            return str(answer.json()["id"])

        with ThreadPoolExecutor(CONNECTIONS) as threads:
            ids = list(threads.map(submit, range(SUBMISSIONS)))
        assert len(set(ids)) == SUBMISSIONS
        with Client(server.url) as client:
            tasks = [client.finished(task_id, 280) for task_id in ids]
        assert {task["status"] for task in tasks} == {"completed"}
        assert sum(task["usage"]["modelCalls"] for task in tasks) == SUBMISSIONS * CHUNKS
        assert len(model.calls()) == SUBMISSIONS * CHUNKS
        assert httpx.get(f"{server.url}/api/async-status", timeout=20).status_code == 200
        shown = httpx.get(f"{server.url}/api/async-status", params={"verbose": 1}, timeout=20).json()
        assert shown["lastSweepAt"] is not None
        assert shown["usage"] is None  # With `--limits off` no meter counts the day's use.
        assert not metered.lines(server)
