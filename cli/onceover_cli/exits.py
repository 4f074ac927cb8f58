"""The exit statuses of the command line, on which scripts rely, and the status for each end of a task."""

from enum import IntEnum
from typing import Final

from .shapes import Json

_OF_TERMS: Final = frozenset({"deadline_exceeded", "budget_exhausted"})


class Exit(IntEnum):
    """The exit statuses of the command line."""

    COMPLETED = 0
    COULD_NOT_RUN = 1
    FAILED = 2
    INCOMPLETE = 3
    TERMS = 4
    CANCELLED = 5
    INTERRUPTED = 130


def exit_of(task: Json) -> Exit:
    """Return the exit status for the end of a task: completed, failed, over its terms, cancelled, or incomplete."""
    if task["status"] == "cancelled":
        return Exit.CANCELLED
    if task["status"] == "failed":
        return Exit.TERMS if (task.get("error") or {}).get("code") in _OF_TERMS else Exit.FAILED
    progress = task["progress"]
    has_gaps = progress.get("truncated", 0) > 0 or progress.get("failed", 0) > 0
    return Exit.INCOMPLETE if has_gaps else Exit.COMPLETED
