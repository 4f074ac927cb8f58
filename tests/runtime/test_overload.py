"""A slow database, and a machine that stands still, under load on real workerd: all work is done, and paid once."""

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import DevServer
from tests.support.model_server import ModelServer
from tests.support.wired_worker import SLOW_DATABASE, write_wired_worker

pytestmark = pytest.mark.runtime
CHUNKS = 8
SMALL = {"maxChars": 40}
ROUTES = {"queue": (), "objects": ("--env", "free")}


@pytest.mark.parametrize("environment", ROUTES.values(), ids=ROUTES)
def test_a_slow_database_keeps_no_call_from_starting(
    environment: Sequence[str], model: ModelServer, tmp_path: Path
) -> None:
    """Each answer takes 2.5 s, and calls used to have 2 s to start in: tasks end, each chunk with one call."""
    model.reset()
    project = write_wired_worker(tmp_path / "project", SLOW_DATABASE)
    with (
        DevServer(tmp_path / "state", *environment, *openai(model.base_url), project=project) as server,
        Client(server.url) as client,
    ):
        tasks = [client.submit(paragraphs(CHUNKS), chunk=SMALL) for _ in range(4)]
        ended = [client.finished(task["id"], seconds=240) for task in tasks]
    assert [task["status"] for task in ended] == ["completed"] * len(tasks)
    assert [(task["usage"]["modelCalls"], task["usage"]["inDoubt"]) for task in ended] == [(CHUNKS, 0)] * len(tasks)
    assert len(model.calls()) == CHUNKS * len(tasks)


@pytest.mark.parametrize("environment", ROUTES.values(), ids=ROUTES)
def test_a_runtime_that_stands_still_loses_and_doubles_nothing(
    environment: Sequence[str], model: ModelServer, tmp_path: Path
) -> None:
    """The whole runtime is stopped four times for longer than calls have to start, with 20 tasks under way."""
    model.reset()
    model.latency_seconds = 0.3
    with (
        DevServer(tmp_path / "state", *environment, *openai(model.base_url), "--cron-every", "5") as server,
        Client(server.url) as client,
    ):
        tasks = [client.submit(paragraphs(CHUNKS), chunk=SMALL) for _ in range(20)]
        for _ in range(4):
            members = server.group_members()
            for pid in members:
                os.kill(pid, signal.SIGSTOP)
            time.sleep(3)  # this is the fault, and no wait for a state
            for pid in members:
                os.kill(pid, signal.SIGCONT)
            client.task(tasks[-1]["id"])
        ended = [client.finished(task["id"], seconds=240) for task in tasks]
    assert [task["status"] for task in ended] == ["completed"] * len(tasks)
    calls = sum(task["usage"]["modelCalls"] for task in ended)
    doubted = sum(task["usage"]["inDoubt"] for task in ended)
    assert CHUNKS * len(tasks) <= len(model.calls()) <= calls <= CHUNKS * len(tasks) + doubted
