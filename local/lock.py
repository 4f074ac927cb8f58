"""Allows only one server for each state directory.

The module locks two files, and a lock ends with the process that has it. The command `make dev` has the first lock.
Node.js inherits the second lock and may outlive a killed command for a moment, so the next server waits for the second
lock.

The first file contains the command's process id, and the second file contains the URL once the server is ready. The
error message of a command that gets no lock contains the process id and the URL.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .arguments import UsageError

_COMMAND = "dev.lock"
_RUNTIME = "runtime.lock"
_ENDING_SECONDS = 10.0
_PAUSE_SECONDS = 0.05


@contextmanager
def sole_use(persist_to: Path) -> Iterator[int]:
    """Make the state directory if it is missing, and lock it.

    Yields the descriptor of the second lock, which the runtime inherits.

    Raises `UsageError` if another server has the lock, or if the directory cannot be made.
    """
    try:
        persist_to.mkdir(parents=True, exist_ok=True)
        command = os.open(persist_to / _COMMAND, os.O_RDWR | os.O_CREAT, 0o600)
        runtime = os.open(persist_to / _RUNTIME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(f"--persist-to: {persist_to} cannot be a folder for the state ({error.strerror})") from None
    try:
        if not _take(command):
            raise UsageError(_in_use(persist_to, _read(command), _read(runtime)))
        os.truncate(command, 0)
        os.pwrite(command, str(os.getpid()).encode(), 0)
        if not _take(runtime, _ENDING_SECONDS):
            raise UsageError(f"--persist-to: a runtime whose `make dev` has died still uses {persist_to}; end it first")
        os.truncate(runtime, 0)
        yield runtime
    finally:
        for descriptor in (command, runtime):
            with suppress(OSError):
                os.close(descriptor)


def is_in_use(persist_to: Path) -> bool:
    """Whether a `make dev` has the lock of a state directory."""
    try:
        command = os.open(persist_to / _COMMAND, os.O_RDWR)
    except OSError:
        return False
    try:
        return not _take(command)
    finally:
        os.close(command)


def _take(descriptor: int, seconds: float = 0.0) -> bool:
    """Lock a file for this process and for those that inherit the descriptor.

    Returns False if another process still has the lock after `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE_SECONDS)
        else:
            return True


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 100, 0).decode("ascii", "replace")


def _in_use(persist_to: Path, process: str, url: str) -> str:
    who = f" (process {process})" if process else ""
    serves = f"serves {url} from" if url else "uses"
    return f"--persist-to: another `make dev`{who} {serves} {persist_to}; stop it, or choose another folder"
