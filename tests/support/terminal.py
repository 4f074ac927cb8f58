"""Runs a program under a pseudo-terminal: reads its output, types keys, and waits for its end."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Self

ROWS = 24
# Makes the pseudo-terminal the controlling terminal of the session, so that Ctrl-C reaches the program, and then runs
# the program.
_OWN = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A program on its own pseudo-terminal for input, output and errors, as a context manager."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, columns: int = 80) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        # Without this mode, Linux drops unread output at Ctrl-C, even output that the program prints after the Ctrl-C.
        modes = termios.tcgetattr(slave)
        modes[3] |= termios.NOFLSH
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        self._shown = b""
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-c", _OWN, *command],
            env=dict(environment),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    @property
    def text(self) -> str:
        return self._shown.decode("utf-8", errors="replace")

    def press(self, text: str) -> None:
        """Type these characters; \\x03 is Ctrl-C."""
        os.write(self._master, text.encode())

    def wait_for(self, text: str, seconds: float = 60) -> None:
        self.wait_until(lambda: text in self.text, seconds)

    def wait_until(self, reached: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, f"not so within {seconds} s; shown: …{self.text[-2_000:]!r}"
            self._read(0.05)

    def wait(self, seconds: float = 60) -> int:
        self.wait_until(lambda: self._process.poll() is not None, seconds)
        while self._read(0):
            pass
        return self._process.returncode

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            some = os.read(self._master, 65_536)
        except OSError:  # On Linux, this error means that no process has the other side of the pseudo-terminal open.
            return False
        self._shown += some
        return bool(some)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._master)
