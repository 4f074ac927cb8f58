"""Tests a SIGKILL of the whole runtime during a task: no work is lost, and only few calls are paid for twice."""

from pathlib import Path

import pytest

from tests.runtime.conftest import ENVIRONMENTS
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
CHUNKS = 40


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("queue", "queue"),
        pytest.param("durable-object", "durable-object", marks=pytest.mark.campaign),
        ("direct", "direct"),
        ("durable-object", "queue"),
    ],
)
def test_a_killed_task_completes_after_the_restart(tmp_path: Path, first: str, then: str):
    with ModelServer(api_key="test-key", latency_seconds=0.05) as model:
        flags = [*openai(model.base_url, AI_TIMEOUT_SECONDS=40, LEASE_SECONDS=60, PLAN="paid"), "--cron-every", "0.5"]
        with DevServer(tmp_path, *ENVIRONMENTS[first], *flags) as dev, Client(dev.url) as client:
            task = client.submit(paragraphs(CHUNKS), chunk={"maxChars": 40})
            model.wait_for_calls(15)
            model.hold()
            model.wait_for_in_flight(6)
            dev.kill()
        model.release()
        model.wait_until_idle()
        before = len(model.calls())
        assert before < CHUNKS
        with DevServer(tmp_path, *ENVIRONMENTS[then], *flags) as dev, Client(dev.url) as client:
            done = client.finished(task["id"])
        assert done["status"] == "completed"
        assert done["progress"]["completed"] == CHUNKS
        calls = model.calls()
        assert CHUNKS <= len(calls) <= CHUNKS + 6
        usage = done["usage"]
        assert usage["minimumCalls"] == CHUNKS
        assert usage["inDoubt"] == 6
        assert usage["modelCalls"] - usage["inDoubt"] <= len(calls) <= usage["modelCalls"]
        assert (done["attempts"], done["route"]) == (2, then if first != "durable-object" else done["route"])
