"""Handles Ctrl-C.

The first Ctrl-C ends the command, leaves the task running, and says how to watch the task. A second Ctrl-C ends the
process at once.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from . import terminal
from .exits import Exit


class Interrupts:
    """Delays an interrupt during work that must not be cut off: a submission, whose answer has the task's id."""

    def __init__(self) -> None:
        self.is_interrupted = False

    @contextmanager
    def held(self, first: str) -> Iterator[None]:
        """Delay the first Ctrl-C until the `with` block is done, and print the text `first`.

        A second Ctrl-C ends the `with` block at once.
        """

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self.is_interrupted:
                raise KeyboardInterrupt
            self.is_interrupted = True
            terminal.say(f"\nonceover: {first}")

        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            yield  # interrupts are ignored, as under nohup, so they must not end this program
            return
        before = signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def explained(second: str) -> Iterator[None]:
    """Let the first interrupt within the `with` block raise KeyboardInterrupt.

    A second interrupt prints `second` and ends the process. After a first interrupt the process is ending, so a second
    interrupt ends it at once even after the block.
    """

    def leave(_number: int, _frame: FrameType | None) -> None:
        os.write(sys.stderr.fileno(), f"\nonceover: {second}\n".encode())
        os._exit(Exit.INTERRUPTED)

    def handle(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, leave)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handle:
            signal.signal(signal.SIGINT, before)
