"""Tests the command line `onceover` with the real Worker: commands, exit statuses, Ctrl-C, and a killed server."""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.client import Client, openai, paragraphs
from tests.support.dev_server import ROOT, DevServer, eventually
from tests.support.loopback import reserved_port
from tests.support.model_plan import Plan, ended, ok, status
from tests.support.model_server import ModelServer
from tests.support.programs import ran
from tests.support.terminal import Terminal

pytestmark = pytest.mark.runtime
PROGRAM = ROOT / ".venv" / "bin" / "onceover"
LARGE = "祝福。" * 22_300  # A text of 200 KB in UTF-8.
SMALL = ("--chunk-chars", "40")


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    plan = Plan(
        by_text={"refuse this": (status(400),), "cut this": (ended("length"),), "write at length": (ok(LARGE),)}
    )
    with ModelServer(api_key="test-key", plan=plan) as server:
        yield server


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def flags(model: ModelServer) -> list[str]:
    return [*openai(model.base_url, LEASE_SECONDS=4, AI_TIMEOUT_SECONDS=3, PLAN="paid"), "--cron-every", "1"]


@pytest.fixture(scope="module")
def server(state: Path, flags: list[str]) -> Iterator[DevServer]:
    with DevServer(state, *flags, port=reserved_port()) as started:
        yield started


@pytest.fixture
def variables(server: DevServer) -> Mapping[str, str]:
    return {**os.environ, "ONCEOVER_URL": server.url, "TERM": "xterm-256color"}


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "text.txt"
    path.write_text(paragraphs(8), "utf-8")
    return str(path)


def onceover(
    variables: Mapping[str, str], *arguments: str, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    return ran([PROGRAM, *arguments], env=variables, input=given)


def test_run_prints_the_result_and_nothing_else(variables: Mapping[str, str], server: DevServer, text: str):
    done = onceover(variables, "run", text, *SMALL)
    assert done.returncode == 0, done.stderr
    task_id = re.findall(r"^Submitted (\S+):", done.stderr)[0]
    with Client(server.url) as client:
        task = client.task(task_id)
    assert done.stdout == task["result"]["output"] + "\n"
    assert done.stderr.splitlines()[-1].startswith("completed. 8 of 8 chunks, 8 model calls, ")


@pytest.mark.parametrize(
    ("given", "options", "expected"),
    [
        ("refuse this", (), 2),
        ("cut this", (), 3),
        ("write at length", (), 0),
        ("too little", ("--max-calls", "1", "--chunk-chars", "5"), 1),
    ],
)
def test_exit_statuses(variables: Mapping[str, str], given: str, options: Sequence[str], expected: int):
    """A model that refuses, a cut output, a large output and a bad request each have their own."""
    done = onceover(variables, "run", "-", *options, given=given)
    assert done.returncode == expected, done.stderr
    if given == "write at length":
        assert done.stdout == LARGE + "\n"
    if expected == 1:
        assert "error: --max-calls: must be at least " in done.stderr


def test_a_deadline_and_a_cancellation_have_statuses_of_their_own(
    variables: Mapping[str, str], model: ModelServer, text: str
):
    model.hold()
    try:
        late = onceover(variables, "run", text, *SMALL, "--deadline", "1s")
        assert late.returncode == 4, late.stderr
        assert "deadline_exceeded" in late.stderr
        task_id = onceover(variables, "submit", text, *SMALL).stdout.strip()
        with subprocess.Popen(
            [PROGRAM, "watch", task_id], env=dict(variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as watching:
            cancelled = onceover(variables, "cancel", task_id, "-o", "json")
            assert json.loads(cancelled.stdout)["status"] == "cancelled"
            assert cancelled.returncode == 0
            watching.communicate(timeout=60)
            assert watching.returncode == 5
    finally:
        model.release()
    assert onceover(variables, "retry", task_id).stdout == f"{task_id}\n"
    assert onceover(variables, "watch", task_id).returncode == 0
    assert onceover(variables, "delete", task_id).returncode == 0
    assert onceover(variables, "status", task_id).returncode == 1


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_leaves_the_task_running(variables: Mapping[str, str], model: ModelServer, text: str, presses: int):
    model.hold()
    try:
        with Terminal([str(PROGRAM), "run", text, *SMALL], variables) as terminal:
            terminal.wait_for("0/8")
            terminal.press("\x03" * presses)
            assert terminal.wait() == 130
    finally:
        model.release()
    task_id = re.findall(r"onceover watch (\S+)", terminal.text)[-1]
    assert onceover(variables, "watch", task_id).returncode == 0


def test_doctor_finds_nothing_and_does_a_task(variables: Mapping[str, str]):
    done = onceover(variables, "doctor", "--env", "", "--task", "--json")
    assert done.returncode == 0, done.stdout
    checks = json.loads(done.stdout)["checks"]
    assert {check["id"] for check in checks if check["level"] in {"warning", "fault"}} <= {"failures"}
    assert {"reach", "database", "queues", "objects", "ai-status", "cron", "queue", "backlog", "storage", "task"} <= {
        check["id"] for check in checks if check["level"] == "ok"
    }


def test_a_server_that_goes_away_and_comes_back(
    server: DevServer, flags: list[str], variables: Mapping[str, str], model: ModelServer, text: str
):
    model.hold()
    try:
        with Terminal([str(PROGRAM), "run", text, *SMALL], variables) as terminal:
            terminal.wait_for("0/8")
            server.kill()
            terminal.wait_for("trying again", 60)
            model.release()
            with DevServer(server.persist_to, *flags, port=int(server.url.rpartition(":")[2])) as second:
                assert eventually(lambda: second.url == server.url)
                assert terminal.wait(120) == 0
    finally:
        model.release()
    assert "the server is back" in terminal.text
    assert "completed. 8 of 8 chunks" in terminal.text
