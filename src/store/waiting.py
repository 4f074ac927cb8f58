"""Why nothing is being done for a task: read from its row, as whoever asks finds it."""

import json

from ..core.states import Status
from ..core.task import LastError, Wait
from .columns import maybe_text, maybe_whole, whole
from .database import Row


def last_error(row: Row) -> LastError | None:
    """Read the last call that failed, unless one has succeeded since."""
    found = maybe_text(row, "last_error")
    return None if found is None else LastError(**json.loads(found))


def waiting_for(row: Row, status: Status) -> Wait | None:
    """Say what a task waits for; None while calls are out or its worker is about to make some, and when it has ended.

    A worker that died leaves a lease, which runs out at a known time, or has.
    """
    now = whole(row, "read_at")
    if status is Status.PENDING:
        not_before = whole(row, "not_before")
        return Wait(_reason(row), not_before) if not_before > now else Wait("queued", None)
    if status is not Status.PROCESSING:
        return None
    if not row["live"]:
        return Wait("lease", None)
    until = maybe_whole(row, "wait_until")
    if whole(row, "calls_in_flight") or until is None or until <= now:
        return None
    return Wait(_reason(row), until)


def _reason(row: Row) -> str:
    return "database" if whole(row, "idle_runs") else maybe_text(row, "wait_reason") or "backoff"
