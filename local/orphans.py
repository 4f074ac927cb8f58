"""Ends the processes that a child process left behind when it was killed."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # The constant's value, see prctl(2).


def adopt_orphans() -> None:
    """On Linux, let every descendant that loses its parent become a child of this process from now on."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children() -> None:
    """Kill the children of this process, including adopted ones. Does nothing if there is no /proc."""
    with suppress(OSError):
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text("ascii")
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
