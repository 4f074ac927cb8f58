"""A long task on the Durable Object route: lanes, their loss, and what is left when it is over."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import metered
from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer, eventually
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
CHUNKS = 120
FLAGS = ("--env", "free", "--cron-every", "1")


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer(api_key="test-key", latency_seconds=0.2) as server:
        yield server


def test_a_long_task_is_not_bound_to_six_calls_at_a_time(model: ModelServer, tmp_path: Path):
    """120 chunks get three lanes: more than six calls are in flight, each made once, and nothing stays behind."""
    with DevServer(tmp_path, *FLAGS, *openai(model.base_url)) as dev, Client(dev.url) as client:
        text = paragraphs(CHUNKS)
        model.hold()
        submitted = client.submit(text, chunk={"maxChars": 40})
        model.wait_for_in_flight(18)
        # The task's object and its coordinator hold what they need, now and not later.
        held = metered.object_rows(tmp_path)
        assert (held["_cf_KV"], held["version"]) == (1, 1)
        model.release()
        task = client.finished(submitted["id"])
        assert (task["status"], task["route"]) == ("completed", "durable-object")
        calls = model.calls()
        assert len(calls) == CHUNKS == task["usage"]["modelCalls"]
        assert "".join(sorted(call.user for call in calls)) == text
        assert 6 < max(call.in_flight for call in calls) <= 18
        assert task["usage"]["inDoubt"] == 0
        chunks = client.http.get(f"{task['links']['self']}/chunks").json()["chunks"]
        assert {chunk["lane"] for chunk in chunks} == {1, 2, 3}
        # The object says goodbye after the task has ended: its storage and its coordinator's are empty then.
        eventually(lambda: not metered.object_rows(tmp_path))


def test_lanes_that_are_killed_repeat_at_most_what_was_in_flight(model: ModelServer, tmp_path: Path):
    """SIGKILL with three lanes at work: after the restart the task completes, each repetition one in doubt."""
    flags = [*openai(model.base_url, AI_TIMEOUT_SECONDS=1, LEASE_SECONDS=2), *FLAGS]
    with DevServer(tmp_path, *flags) as dev, Client(dev.url) as client:
        task = client.submit(paragraphs(CHUNKS), chunk={"maxChars": 40})
        model.wait_for_calls(30)
        model.hold()
        model.wait_for_in_flight(18)
        dev.kill()
    model.release()
    model.wait_until_idle()
    with DevServer(tmp_path, *flags) as dev, Client(dev.url) as client:
        done = client.finished(task["id"])
    assert done["status"] == "completed"
    assert CHUNKS <= len(model.calls()) <= CHUNKS + 18
    usage = done["usage"]
    assert usage["inDoubt"] == 18
    assert usage["modelCalls"] - usage["inDoubt"] <= len(model.calls()) <= usage["modelCalls"]
