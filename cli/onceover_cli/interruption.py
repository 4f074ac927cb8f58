"""Ctrl-C.

The first one leaves the task running and says how to watch it. The message also says what a second interrupt does.
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
    """Notes an interrupt during work that must not be cut off, such as a submission: its answer has the task's id."""

    def __init__(self) -> None:
        self.is_interrupted = False

    @contextmanager
    def held(self, first: str) -> Iterator[None]:
        """Delay the first interrupt until the block is done, and say `first`. A second interrupt ends the block."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self.is_interrupted:
                raise KeyboardInterrupt
            self.is_interrupted = True
            terminal.say(f"\nonceover: {first}")

        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            yield  # a parent process such as nohup ignores interrupts, so interrupts must not end this program
            return
        before = signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def explained(second: str) -> Iterator[None]:
    """Let the first interrupt raise KeyboardInterrupt. The next one says `second` and ends the process at once.

    After a first interrupt the process is ending, so a later interrupt is explained after the block too.
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
