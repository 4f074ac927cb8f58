"""Tests how `make dev` prints the Worker's log: as readable lines on a terminal, and as JSON in a pipe."""

import json
import os

from local.node import find_node
from tests.support.dev_server import ROOT
from tests.support.programs import output_of, ran

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
    script = (
        f'import {{ logged }} from "{MODULE}";'
        f"for (const line of {json.dumps([json.dumps(one, separators=(',', ':')) for one in lines])})"
        f"  process.stdout.write(logged(line, 0, {{ isTTY: {json.dumps(terminal)} }}) + '\\n');"
    )
    program = [str(find_node()), "--input-type=module", "-e", script]
    return output_of(program, env={**os.environ, "TZ": "UTC", **environment}).splitlines()


def test_a_pipe_gets_the_json_of_the_worker_with_its_time() -> None:
    (line,) = shown([EVENT], terminal=False)
    assert json.loads(line) == {**EVENT, "at": "1970-01-01T00:00:00.000Z"}


def test_a_terminal_gets_a_line_for_a_reader() -> None:
    (line,) = shown([EVENT], terminal=True, NO_COLOR="1")
    assert line == '00:00:00 claimed            task=01a2 attempt=1 done=[0,2] error="said \\"no\\"\\u001b[31m\\u009b"'
    (coloured,) = shown([{"event": "claimed", "tenant": "acme"}], terminal=True, NO_COLOR="")
    assert coloured == "\x1b[2m00:00:00\x1b[22m claimed            \x1b[2mtenant=\x1b[22macme"


def test_a_client_that_left_is_no_exception() -> None:
    """`make dev` does not print workerd's report about a stream that its client closed."""
    left = [
        f"exception = workerd/api/streams/{where}: disconnected: {what} canceled\nstack: workerd@6b04330"
        for where, what in (("internal.c++:531", "pump"), ("identity-transform-stream.c++:296", "reader"))
    ]
    entries = [{"level": "error", "message": message, "timestamp": 0} for message in (*left, "another error")]
    script = (
        f'import {{ printRuntimeOutput }} from "{MODULE}";'
        f"for (const entry of {json.dumps(entries)}) printRuntimeOutput(entry);"
    )
    done = ran([find_node(), "--input-type=module", "-e", script])
    assert done.returncode == 0
    assert (done.stdout, done.stderr) == ("", "another error\n")


def test_a_full_disk_is_named():
    message = "e = workerd/util/sqlite.c++:1827: failed: SQLite failed; database or disk is full: SQLITE_FULL\nstack: …"
    entry = json.dumps({"level": "error", "message": message})
    script = f'import {{ printRuntimeOutput as print }} from "{MODULE}"; print({entry});'
    done = ran([find_node(), "--input-type=module", "-e", script])
    assert done.returncode == 0
    assert done.stderr.startswith("the disk is full, so the database cannot write.")
    assert "stack" not in done.stderr
