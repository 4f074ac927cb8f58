"""Starts `python -m local.dev` as a user would, and ends it with Ctrl-C or SIGKILL."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent.parent
READY = re.compile(r"^Ready on (http://127\.0\.0\.1:(\d+))$")


class ServerEnded(Exception):
    """Raised if a server ends, or does not print in time, while a test waits for a line."""


class DevServer:
    """A local runtime in a process group of its own; it uses a free port unless `port` names one.

    The server is used as a context manager: entering waits for the line "Ready on", and leaving kills all its
    processes. `environ` are environment variables for the server, in addition to those of this process. `lines` has
    every line that the server has printed, standard error included.
    """

    def __init__(
        self,
        persist_to: Path,
        *arguments: str,
        port: int = 0,
        project: Path | None = None,
        ready_seconds: float = 240,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.environ = {**os.environ, "PYTHONUNBUFFERED": "1", **(environ or {})}
        self.command = [
            *(sys.executable, "-m", "local.dev"),
            *("--port", str(port), "--persist-to", str(persist_to)),
            *(("--project", str(project)) if project else ()),
            *arguments,
        ]
        self.persist_to = persist_to
        self.ready_seconds = ready_seconds
        self.url = ""
        self.lines: list[str] = []
        self._news: queue.Queue[None] = queue.Queue()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> Self:
        """Start the server, and wait until it is ready. Raises `ServerEnded` with its output."""
        self.launch()
        self.url = READY.match(self.wait_for_line(READY.pattern, self.ready_seconds))[1]  # type: ignore[index]
        return self

    def launch(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()
        self._process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self.environ,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))
            self._news.put(None)
        self._news.put(None)

    @property
    def process(self) -> subprocess.Popen[str]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def output(self) -> str:
        """All lines that the server has printed so far, as one text."""
        return "\n".join(self.lines)

    def wait_for_line(self, pattern: str, seconds: float = 60, *, after: int = 0) -> str:
        deadline = time.monotonic() + seconds
        while True:
            ended = self._reader is not None and not self._reader.is_alive()
            for line in self.lines[after:]:
                if re.search(pattern, line):
                    return line
            left = deadline - time.monotonic()
            if ended or left <= 0:
                why = "ended" if ended else f"printed nothing like it within {seconds} s"
                raise ServerEnded(f"waiting for {pattern!r}: the server {why}\n{self.output}")
            with contextlib.suppress(queue.Empty):
                self._news.get(timeout=min(left, 1))

    def stop(self, seconds: float = 60) -> int:
        """Send SIGINT to the whole process group, as a terminal does at Ctrl-C. Returns the exit status."""
        self._signal(signal.SIGINT)
        return self.wait(seconds)

    def kill(self) -> None:
        """Send SIGKILL to the server's whole process group, which cannot write anything afterwards."""
        self._signal(signal.SIGKILL)
        self.wait(60)

    def wait(self, seconds: float) -> int:
        status = self.process.wait(seconds)
        if self._reader is not None:
            self._reader.join(seconds)
        return status

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def group_members(self) -> list[int]:
        found = []
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                fields = status.read_text().rpartition(")")[2].split()
                if int(fields[2]) == self.process.pid and fields[0] != "Z":
                    found.append(int(status.parent.name))
        return found

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(self, *failure: object) -> None:
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        self.wait(60)
        if self._process.stdout is not None:
            self._process.stdout.close()


def eventually[T](attempt: Callable[[], T], seconds: float = 60, pause: float = 0.05) -> T:
    deadline = time.monotonic() + seconds
    event = threading.Event()
    while not (result := attempt()) and time.monotonic() < deadline:
        event.wait(pause)
    assert result, f"still not so after {seconds} s"
    return result


def run_dev(*arguments: str, project: Path | None = None, seconds: float = 60) -> tuple[int, Sequence[str]]:
    """Run `python -m local.dev` to its end, and return its exit status and lines."""
    extra = ("--project", str(project)) if project else ()
    done = subprocess.run(
        [sys.executable, "-m", "local.dev", *extra, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()
