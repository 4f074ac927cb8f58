"""The local queue delivers to several consumers at once, so that a slow one delays no message."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.client import Client, openai
from tests.support.dev_server import DevServer
from tests.support.model_plan import Plan, hang
from tests.support.model_server import ModelServer

pytestmark = pytest.mark.runtime
TASKS = 8


def test_eight_slow_tasks_are_at_work_at_once_and_end_after_a_kill(tmp_path: Path) -> None:
    with ModelServer(api_key="test-key") as model:
        flags = [*openai(model.base_url, AI_TIMEOUT_SECONDS=20, LEASE_SECONDS=22), "--cron-every", "0.5"]
        model.hold()
        with DevServer(tmp_path, *flags) as dev, Client(dev.url) as client:
            ids = [client.submit(f"Slow text {number}.")["id"] for number in range(TASKS)]
            model.wait_for_in_flight(TASKS, 60)
            tasks = [client.task(id_) for id_ in ids]
            assert [(task["status"], task["route"]) for task in tasks] == [("processing", "queue")] * TASKS
            dev.kill()
        model.release()
        model.wait_until_idle()
        with DevServer(tmp_path, *flags) as dev, Client(dev.url) as client:
            ended = [client.finished(id_, 120) for id_ in ids]
        assert {task["status"] for task in ended} == {"completed"}
        assert [task["usage"]["inDoubt"] for task in ended] == [1] * TASKS
        assert len(model.calls()) <= 2 * TASKS


def test_a_task_ends_while_another_ones_call_hangs(tmp_path: Path) -> None:
    with ModelServer(api_key="test-key", plan=Plan(by_text={"first": [hang()]})) as model:
        before = datetime.now(UTC)
        with DevServer(tmp_path, *openai(model.base_url)) as dev, Client(dev.url) as client:
            first = client.submit("The first one.")["id"]
            model.wait_for_in_flight(1, 60)
            second = client.submit("The second one.")["id"]
            assert client.finished(second)["status"] == "completed"
            assert client.task(first)["status"] == "processing"
            line = json.loads(dev.wait_for_line(f'^{{"event":"run_ended".*{second}'))
            assert list(line)[:2] == ["event", "at"]
            assert before <= datetime.fromisoformat(line["at"]) <= datetime.now(UTC)
