"""`onceover` as a process with real streams: closed pipes, narrow terminals, Ctrl-C."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dev_server import ROOT
from tests.support.fake_api import TASK_ID, Answer, FakeApi, chunk, event, task
from tests.support.terminal import Terminal

pytestmark = pytest.mark.slow  # processes
PATH = f"/api/tasks/{TASK_ID}"
PROGRAM = [sys.executable, "-P", "-m", "onceover_cli"]
LARGE = "祝福。" * 66_000
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with FakeApi() as server:
        yield server


def environment(fake: FakeApi, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    return {**kept, "PYTHONPATH": str(ROOT / "cli"), "LC_ALL": "C", "ONCEOVER_URL": fake.url, **more}


def piped(fake: FakeApi, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*PROGRAM, *arguments], env=environment(fake, **more), capture_output=True, timeout=60, check=False
    )


def test_a_large_chinese_result_comes_through_a_pipe_whole_whatever_the_locale(fake: FakeApi):
    fake.on("GET", PATH, task(output=LARGE))
    done = piped(fake, "watch", TASK_ID, FORCE_COLOR="1", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout.decode()) == (0, LARGE + "\n")
    assert done.stderr == b"completed. 2 of 2 chunks, 2 model calls, 10 + 4 tokens.\n"


@pytest.mark.parametrize(
    "arguments", [["watch", TASK_ID], ["result", TASK_ID], ["watch", TASK_ID, "-o", "json"], ["--help"]]
)
def test_a_pipe_that_closes_is_no_error(arguments: list[str], fake: FakeApi):
    fake.on("GET", PATH, task(output=LARGE))
    with subprocess.Popen(
        [*PROGRAM, *arguments], env=environment(fake), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 0
    assert said == ""


def following(fake: FakeApi, gate: threading.Event) -> None:
    def stream() -> Iterator[str]:
        yield event("chunk", chunk(0, "one"), "0-1")
        yield event("progress", {"total": 2, "completed": 1, "failed": 0, "truncated": 0})
        gate.wait(20)
        yield event("end", task())

    fake.on("GET", PATH, task("processing")).on("GET", f"{PATH}/events", lambda _asked: Answer(stream=stream()))


def test_a_terminal_sees_a_bar_and_the_outputs(fake: FakeApi):
    gate = threading.Event()
    following(fake, gate)
    with Terminal([*PROGRAM, "watch", TASK_ID], environment(fake, TERM="xterm-256color")) as terminal:
        terminal.wait_for("1/2")
        assert "one\r\n" in terminal.text
        gate.set()
        assert terminal.wait() == 0
    assert "\x1b[2K\r\ntwo\r\n" in COLOUR.sub("", terminal.text)
    assert COLOUR.sub("", terminal.text).rstrip().endswith("completed. 2 of 2 chunks, 2 model calls, 10 + 4 tokens.")


def test_an_output_does_not_command_the_terminal(fake: FakeApi):
    fake.on("GET", PATH, task(output="a\x1b]0;owned\x07b\r\x9bc"))
    with Terminal([*PROGRAM, "result", TASK_ID], environment(fake, TERM="xterm")) as terminal:
        assert terminal.wait() == 0
    assert terminal.text == "a␛]0;owned␇b␍\ufffdc\r\n"
    assert piped(fake, "result", TASK_ID).stdout.decode() == "a\x1b]0;owned\x07b\r\x9bc\n"


def test_ctrl_c_while_watching_leaves_the_task_running(fake: FakeApi):
    for presses in (1, 2):
        gate = threading.Event()
        following(fake, gate)
        with Terminal([*PROGRAM, "watch", TASK_ID], environment(fake, TERM="xterm")) as terminal:
            terminal.wait_for("1/2")
            terminal.press("\x03" * presses)
            assert terminal.wait() == 130
        gate.set()
        assert "Traceback" not in terminal.text
        assert terminal.text.rstrip().splitlines()[-1].startswith("Watch it: onceover watch") or presses == 2
        assert f"onceover watch {TASK_ID}" in terminal.text
    assert fake.requests("POST", f"{PATH}/cancel") == []


def test_ctrl_c_while_submitting_waits_for_the_id(fake: FakeApi, tmp_path: Path):
    (tmp_path / "text").write_text("text")
    gate = threading.Event()

    def late(_asked: object) -> Answer:
        gate.wait(20)
        return Answer(202, task("pending"))

    fake.on("POST", "/api/tasks", late)
    arguments = ["run", str(tmp_path / "text"), "--idempotency-key", "mine"]
    with Terminal([*PROGRAM, *arguments], environment(fake, TERM="xterm")) as terminal:
        terminal.wait_until(lambda: bool(fake.asked))
        terminal.press("\x03")
        terminal.wait_for("Ctrl-C again leaves at once")
        gate.set()
        assert terminal.wait() == 130
    assert terminal.text.rstrip().endswith(f"Watch it: onceover watch {TASK_ID} --url {fake.url}")
    gate.clear()
    fake.asked.clear()
    with Terminal([*PROGRAM, *arguments], environment(fake, TERM="xterm")) as terminal:
        terminal.wait_until(lambda: bool(fake.asked))
        terminal.press("\x03")
        terminal.wait_for("--idempotency-key mine finds it")
        terminal.press("\x03")
        assert terminal.wait() == 130
    gate.set()
    assert "Traceback" not in terminal.text
