"""The exit statuses of the command line, on which scripts rely, and the status for each end of a task."""

from enum import IntEnum
from typing import Final

from .shapes import Json

_OF_TERMS: Final = frozenset({"deadline_exceeded", "budget_exhausted", "cost_exhausted"})


class Exit(IntEnum):
    """The exit statuses of the command line."""

    COMPLETED = 0
    COULD_NOT_RUN = 1
    FAILED = 2
    INCOMPLETE = 3
    TERMS = 4
    CANCELLED = 5
    INTERRUPTED = 130


def exit_of_batch(batch: Json) -> Exit:
    """Return the exit status for the end of a batch. A batch with failed lines is incomplete."""
    match batch["status"]:
        case "cancelled":
            return Exit.CANCELLED
        case "expired":
            return Exit.TERMS
        case "failed":
            faults = (batch["errors"] or {}).get("data", ())
            return Exit.TERMS if any(one["code"] in _OF_TERMS for one in faults) else Exit.FAILED
        case _:
            return Exit.INCOMPLETE if batch["request_counts"]["failed"] else Exit.COMPLETED


def exit_of(task: Json) -> Exit:
    """Return the exit status for the end of a task: completed, failed, over its terms, cancelled, or incomplete."""
    if task["status"] == "cancelled":
        return Exit.CANCELLED
    if task["status"] == "failed":
        return Exit.TERMS if (task.get("error") or {}).get("code") in _OF_TERMS else Exit.FAILED
    progress = task["progress"]
    has_gaps = progress.get("truncated", 0) > 0 or progress.get("failed", 0) > 0
    return Exit.INCOMPLETE if has_gaps else Exit.COMPLETED
