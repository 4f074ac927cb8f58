"""Ctrl-C. The first one leaves the task running and says how to watch it. What a second one does is said, too."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from . import terminal
from .exits import Exit


class Interrupts:
    """Counts interrupts while something must not be cut off, such as a submission whose answer has the task's id."""

    def __init__(self) -> None:
        self.is_interrupted = False

    @contextmanager
    def held(self, first: str) -> Iterator[None]:
        """Let the first interrupt wait until the block is done, and say `first`; the second one ends the block."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self.is_interrupted:
                raise KeyboardInterrupt
            self.is_interrupted = True
            terminal.say(f"\nonceover: {first}")

        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            yield  # whoever started us, as nohup does, wants no interrupt to end this
            return
        before = signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def explained(second: str) -> Iterator[None]:
    """Let the first interrupt raise KeyboardInterrupt, and the next one end the process at once, with `second`.

    After a first one the process is on its way out, so its successor stays explained behind the block, too.
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
