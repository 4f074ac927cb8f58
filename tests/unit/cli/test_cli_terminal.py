"""`onceover` as a process with real streams: closed pipes, narrow terminals, Ctrl-C."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dev_server import ROOT
from tests.support.fake_api import TASK_ID, Answer, FakeApi, chunk, event, failed, task
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
    """Return a shell's variables, with a C locale and without the machine's own settings of colours and columns."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    return {**kept, "PYTHONPATH": str(ROOT / "cli"), "LC_ALL": "C", "ONCEOVER_URL": fake.url, **more}


def piped(fake: FakeApi, *arguments: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    """Run `onceover` with standard output and standard error in pipes."""
    return subprocess.run(
        [*PROGRAM, *arguments], env=environment(fake, **more), capture_output=True, timeout=60, check=False
    )


def test_a_large_chinese_result_comes_through_a_pipe_whole_whatever_the_locale(fake: FakeApi):
    """A result of 200,000 characters comes through a pipe unchanged, without a bar or colours, in any locale."""
    fake.on("GET", PATH, task(output=LARGE))
    done = piped(fake, "watch", TASK_ID, FORCE_COLOR="1", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout.decode()) == (0, LARGE + "\n")
    assert done.stderr == b"completed. 2 of 2 chunks, 2 model calls, 10 + 4 tokens.\n"


@pytest.mark.parametrize(
    "arguments", [["watch", TASK_ID], ["result", TASK_ID], ["watch", TASK_ID, "-o", "json"], ["--help"]]
)
def test_a_pipe_that_closes_is_no_error(arguments: list[str], fake: FakeApi):
    """If a reader such as `head -1` closes the pipe, `onceover` ends with status 0 and without a traceback."""
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


def test_a_pipe_that_closes_leaves_the_task_running(fake: FakeApi):
    """When the reader closes the pipe, `onceover` stops watching, and says how to watch the task again."""
    more = threading.Event()

    def stream() -> Iterator[str]:
        yield event("chunk", chunk(0, "one"), "0-1")
        assert more.wait(20)
        yield event("chunk", chunk(1, LARGE), "0-2")
        yield event("end", task())

    fake.on("GET", PATH, task("processing")).on("GET", f"{PATH}/events", Answer(stream=stream()))
    with subprocess.Popen(
        [*PROGRAM, "watch", TASK_ID], env=environment(fake), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        more.set()
        said = process.stderr.read().decode()
        assert process.wait(60) == 0
    assert said.splitlines()[-1] == f"Watch it: onceover watch {TASK_ID} --url {fake.url}"


@pytest.mark.parametrize(
    ("ends", "status", "said"),
    [
        (task(), 0, "completed. 2 of 2 chunks, 2 model calls, 10 + 4 tokens."),
        (failed("model_refused"), 2, "failed: it did not work (model_refused)"),
    ],
)
def test_a_pipe_that_closes_on_a_task_that_has_ended(ends: dict[str, object], status: int, said: str, fake: FakeApi):
    """If the pipe closes after the task's end, `onceover` reports this end, and does not say that the task runs on."""
    more = threading.Event()

    def stream() -> Iterator[str]:
        yield event("chunk", chunk(0, "one"), "0-1")
        assert more.wait(20)
        yield event("chunk", chunk(1, LARGE), "0-2")
        yield event("end", ends)

    fake.on("GET", PATH, task("processing"), ends).on("GET", f"{PATH}/events", Answer(stream=stream()))
    with subprocess.Popen(
        [*PROGRAM, "watch", TASK_ID], env=environment(fake), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        more.set()
        shown = process.stderr.read().decode()
        assert process.wait(60) == status
    assert said in shown
    assert "runs on" not in shown
    assert fake.requests("GET", PATH)[-1].query == {"wait": "2"}


def following(fake: FakeApi, gate: threading.Event) -> None:
    """Serve a task that stays at its first chunk until the test opens the gate."""

    def stream() -> Iterator[str]:
        yield event("chunk", chunk(0, "one"), "0-1")
        yield event("progress", {"total": 2, "completed": 1, "failed": 0, "truncated": 0})
        gate.wait(20)
        yield event("end", task())

    fake.on("GET", PATH, task("processing")).on("GET", f"{PATH}/events", lambda _asked: Answer(stream=stream()))


def test_a_terminal_sees_a_bar_and_the_outputs(fake: FakeApi):
    """On a terminal a bar counts the chunks, makes way for the outputs, and is gone at the end."""
    gate = threading.Event()
    following(fake, gate)
    with Terminal([*PROGRAM, "watch", TASK_ID], environment(fake, TERM="xterm-256color")) as terminal:
        terminal.wait_for("1/2")
        assert "one\r\n" in terminal.text
        gate.set()
        assert terminal.wait() == 0
    assert "\x1b[2K\r\ntwo\r\n" in COLOUR.sub("", terminal.text)
    assert COLOUR.sub("", terminal.text).rstrip().endswith("completed. 2 of 2 chunks, 2 model calls, 10 + 4 tokens.")


@pytest.mark.parametrize("columns", [20, 40])
def test_a_narrow_terminal_is_not_overrun(columns: int, fake: FakeApi):
    """On a narrow terminal the bar stays on one line, and the ids in a list stay whole."""
    gate = threading.Event()
    following(fake, gate)
    with Terminal([*PROGRAM, "watch", TASK_ID], environment(fake, TERM="xterm"), columns=columns) as terminal:
        terminal.wait_for("1/2")
        gate.set()
        assert terminal.wait() == 0
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.text))
    assert all(len(line) <= columns for line in lines if "/2" in line)
    fake.on("GET", "/api/tasks", {"tasks": [task(), failed("model_refused")], "nextCursor": None})
    with Terminal([*PROGRAM, "list"], environment(fake, TERM="xterm"), columns=columns) as terminal:
        assert terminal.wait() == 0
    assert terminal.text.count(TASK_ID) == 2


@pytest.mark.parametrize("flags", [[], ["--wide"]])
def test_a_list_has_a_line_for_each_task(flags: list[str], fake: FakeApi):
    """A terminal of 80 columns shows the columns that fit, a long name shortened. With --wide it shows all."""
    named = {**failed("model_refused"), "name": "Minutes of the general meeting of the harbour company"}
    fake.on("GET", "/api/tasks", {"tasks": [task(), named], "nextCursor": None})
    with Terminal([*PROGRAM, "list", *flags], environment(fake, TERM="xterm"), columns=80) as terminal:
        assert terminal.wait() == 0
    lines = COLOUR.sub("", terminal.text).splitlines()
    assert len(lines) == 3
    assert "model_refused" in lines[2]
    assert all(len(line) <= 80 for line in lines) is (not flags)
    assert ("harbour company" in lines[2] and "CREATED" in lines[0]) is bool(flags)


def test_a_wide_terminal_sees_a_table(fake: FakeApi):
    """On a wide terminal `onceover` lists tasks as a table with a row for each task."""
    fake.on("GET", "/api/tasks", {"tasks": [task()], "nextCursor": None})
    with Terminal([*PROGRAM, "list"], environment(fake, TERM="xterm"), columns=120) as terminal:
        assert terminal.wait() == 0
    assert re.search(rf"{TASK_ID}\s+completed\s+2/2", COLOUR.sub("", terminal.text))


@pytest.mark.parametrize("arguments", [["list"], ["doctor"], ["watch", TASK_ID]])
def test_no_color_means_no_colour(arguments: list[str], fake: FakeApi):
    """With NO_COLOR `onceover` uses no colours, as no-color.org says, even on a terminal that has them."""
    gate = threading.Event()
    gate.set()
    following(fake, gate)
    fake.on("GET", "/api/tasks", {"tasks": [task()], "nextCursor": None})
    for colours, more in ((True, {}), (False, {"NO_COLOR": "1"})):
        with Terminal([*PROGRAM, *arguments], environment(fake, TERM="xterm-256color", **more)) as terminal:
            terminal.wait()
        codes = set(re.findall(r"\x1b\[([0-9;]*)m", terminal.text))
        assert any(re.search(r"(?:^|;)[349]\d", code) for code in codes) is (colours and arguments != ["list"]), codes


def test_a_dumb_terminal_has_no_bar(fake: FakeApi):
    """With TERM=dumb `onceover` shows no bar, since such a terminal cannot move its cursor."""
    fake.on("GET", PATH, task())
    with Terminal([*PROGRAM, "watch", TASK_ID], environment(fake, TERM="dumb")) as terminal:
        assert terminal.wait() == 0
    assert "\x1b" not in terminal.text


def test_an_output_does_not_command_the_terminal(fake: FakeApi):
    """Control characters in a model's output are printed in a visible form, so they do not control the terminal."""
    fake.on("GET", PATH, task(output="a\x1b]0;owned\x07b\r\x9bc"))
    with Terminal([*PROGRAM, "result", TASK_ID], environment(fake, TERM="xterm")) as terminal:
        assert terminal.wait() == 0
    assert terminal.text == "a␛]0;owned␇b␍\ufffdc\r\n"
    assert piped(fake, "result", TASK_ID).stdout.decode() == "a\x1b]0;owned\x07b\r\x9bc\n"


def test_ctrl_c_while_watching_leaves_the_task_running(fake: FakeApi):
    """Ctrl-C ends `onceover` with status 130, and the last line says how to watch the task."""
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


def test_an_interrupt_while_the_program_ends_changes_no_status(fake: FakeApi):
    """A second Ctrl-C while Python exits does not change the status.

    While Python exits on a busy machine, a second Ctrl-C once gave status -2 instead of 130.
    """
    program = (
        "import atexit, os, signal\n"
        "from onceover_cli.main import run\n"
        "atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))\n"
        "run()\n"
    )
    command = [sys.executable, "-P", "-c", program, "--version"]
    done = subprocess.run(command, env=environment(fake), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_while_submitting_waits_for_the_id(fake: FakeApi, tmp_path: Path):
    """After a first Ctrl-C during a submission, `onceover` says that it waits for the id, and what a
    second one does.
    """
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


INTERRUPTED = """
import os, signal
from onceover_cli.interruption import explained

with explained("never said"):
    pass
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
try:
    with explained("leaving at once"):
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError
except KeyboardInterrupt:
    print("goodbye begins", flush=True)
os.kill(os.getpid(), signal.SIGINT)
print("not reached")
"""


def test_a_second_interrupt_is_explained_and_ends_at_once(fake: FakeApi):
    """A second Ctrl-C, during the answer to the first, ends `onceover` at once with a message and no traceback."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], env=environment(fake), capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (130, b"goodbye begins\n")
    assert done.stderr == b"\nonceover: leaving at once\n"


def test_an_interrupt_in_a_pipe_is_the_same(fake: FakeApi):
    """Without a terminal, SIGINT ends `onceover` with the same message on standard error."""
    gate = threading.Event()
    following(fake, gate)
    with subprocess.Popen(
        [*PROGRAM, "watch", TASK_ID], env=environment(fake), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    gate.set()
    assert (process.returncode, out) == (130, b"")
    assert err.decode().splitlines()[-1] == f"Watch it: onceover watch {TASK_ID} --url {fake.url}"
