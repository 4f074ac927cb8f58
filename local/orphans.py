"""Ends grandchildren whose parent died without ending them."""

import ctypes
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


def adopt_orphans() -> None:
    """From now on, on Linux, a descendant that loses its parent becomes a child of this process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_children() -> None:
    """Kill the children of this process, adopted ones included. Without /proc this does nothing."""
    with suppress(OSError):
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text("ascii")
        for child in children.split():
            os.kill(int(child), signal.SIGKILL)
