"""Tests how `make dev` prints the Worker's log: as readable lines on a terminal, and as JSON in a pipe."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from local.arguments import UsageError
from local.lock import sole_use
from local.node import find_node
from tests.support.dev_server import ROOT
from tests.support.terminal import Terminal

MODULE = ROOT / "local" / "runtime" / "output.mjs"
EVENT = {
    "event": "claimed",
    "request": "r1",
    "task": "01a2",
    "tenant": "local",
    "attempt": 1,
    "done": [0, 2],
    "error": 'said "no"\x1b[31m\x9b',
    "rows_read": 7,
}


def shown(lines: list[object], *, terminal: bool, **environment: str) -> list[str]:
    """Return the given lines of the log as `make dev` prints them."""
    script = (
        f'import {{ logged }} from "{MODULE}";'
        f"for (const line of {json.dumps([json.dumps(one, separators=(',', ':')) for one in lines])})"
        f"  process.stdout.write(logged(line, 0, {{ isTTY: {json.dumps(terminal)} }}) + '\\n');"
    )
    done = subprocess.run(
        [str(find_node()), "--input-type=module", "-e", script],
        env={**os.environ, "TZ": "UTC", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_a_pipe_gets_the_json_of_the_worker_with_its_time() -> None:
    """In a pipe, `make dev` prints each log event as complete JSON with its time."""
    (line,) = shown([EVENT], terminal=False)
    assert json.loads(line) == {**EVENT, "at": "1970-01-01T00:00:00.000Z"}


def test_a_terminal_gets_a_line_for_a_reader() -> None:
    """On a terminal, `make dev` prints a log event as a line with time, name and facts."""
    (line,) = shown([EVENT], terminal=True, NO_COLOR="1")
    assert line == '00:00:00 claimed            task=01a2 attempt=1 done=[0,2] error="said \\"no\\"\\u001b[31m\\u009b"'
    (coloured,) = shown([{"event": "claimed", "tenant": "acme"}], terminal=True, NO_COLOR="")
    assert coloured == "\x1b[2m00:00:00\x1b[22m claimed            \x1b[2mtenant=\x1b[22macme"


def test_lines_of_the_meter_are_shown_whole() -> None:
    """The meter's events are printed with all facts, because `--limits` asks for them."""
    (line,) = shown([{"event": "metered", "request": "r1", "rows_read": 7}], terminal=True, NO_COLOR="1")
    assert line == "00:00:00 metered            request=r1 rows_read=7"


@pytest.mark.parametrize("terminal", [True, False])
def test_other_lines_stay_as_they_are(*, terminal: bool) -> None:
    """Lines that are plain text, and JSON that is not an event, are printed unchanged."""
    assert shown(["text", {"a": 1}], terminal=terminal) == ['"text"', '{"a":1}']


def test_a_client_that_left_is_no_exception() -> None:
    """`make dev` does not print workerd's report about a stream that its client has closed, because this is not a
    fault.
    """
    left = [
        f"exception = workerd/api/streams/{where}: disconnected: {what} canceled\nstack: workerd@6b04330"
        for where, what in (("internal.c++:531", "pump"), ("identity-transform-stream.c++:296", "reader"))
    ]
    entries = [{"level": "error", "message": message, "timestamp": 0} for message in (*left, "another error")]
    script = (
        f'import {{ printRuntimeOutput }} from "{MODULE}";'
        f"for (const entry of {json.dumps(entries)}) printRuntimeOutput(entry);"
    )
    done = subprocess.run(
        [str(find_node()), "--input-type=module", "-e", script], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("", "another error\n")


def test_a_server_that_is_not_ready_yet_is_named_without_a_url(tmp_path: Path) -> None:
    """If the first server is not ready yet, the refusal of a second server does not name the URL of an even earlier
    server.
    """
    (tmp_path / "runtime.lock").write_text("http://127.0.0.1:1")
    with sole_use(tmp_path), pytest.raises(UsageError) as refused, sole_use(tmp_path):
        pass
    assert str(refused.value) == (
        f"--persist-to: another `make dev` (process {os.getpid()}) uses {tmp_path}; stop it, or choose another folder"
    )


@pytest.mark.runtime
def test_make_dev_on_a_terminal(tmp_path: Path) -> None:
    """On a terminal, `make dev` shows a task's event as a readable line, and its last line says what is kept."""
    command = [sys.executable, "-m", "local.dev", "--port", "0", "--persist-to", str(tmp_path)]
    with Terminal(command, {**os.environ, "NO_COLOR": "1"}, columns=200) as terminal:
        terminal.wait_for("Ready on http://", 100)
        terminal.wait_until(lambda: re.search(r"Ready on (http://\S+)\r\n", terminal.text) is not None)
        (url,) = re.findall(r"Ready on (http://\S+)\r\n", terminal.text)
        task = httpx.post(f"{url}/api/tasks", json={"input": "A text."}, timeout=60).json()["id"]
        terminal.wait_until(
            lambda: re.search(rf"\d\d:\d\d:\d\d claimed +task={task} route=queue fence=1 ", terminal.text) is not None
        )
        assert '{"event"' not in terminal.text
        terminal.press("\x03")
        assert terminal.wait() == 0
        assert terminal.text.endswith(
            f"Stopped. The state stays in {tmp_path}, and the next start continues from there.\r\n"
        )
