"""Finds out from a task's row why no worker is working on the task."""

import json

from ...core.states import Status
from ...core.task import LastError, Wait
from ..d1.columns import maybe_text, maybe_whole, whole
from ..d1.database import Row

# After a rollback, an error that newer code stored may have more fields than the class LastError.
_KNOWN = frozenset(LastError._fields)


def last_error(row: Row) -> LastError | None:
    """Read a task's latest failed model call from its row; None if a call has succeeded since."""
    found = maybe_text(row, "last_error")
    if found is None:
        return None
    return LastError(**{name: value for name, value in json.loads(found).items() if name in _KNOWN})


def news_at(row: Row) -> int:
    """Return when something last happened to a task, or the start of the first call in the present row of failures."""
    error = last_error(row)
    if error is not None:
        return error.since
    return max(whole(row, "created_at"), maybe_whole(row, "announced_at") or 0, maybe_whole(row, "sent_at") or 0)


def waiting_for(row: Row, status: Status) -> Wait | None:
    """Find out what a task waits for.

    Returns None if the task has calls in flight, if its worker is about to make some, or if the task has ended.

    If the task's worker has died, the task waits for the end of the worker's lease.
    """
    now = whole(row, "read_at")
    if status is Status.PENDING:
        not_before = whole(row, "not_before")
        return Wait(_reason(row), not_before) if not_before > now else Wait("queued", None, _ahead(row))
    return _held(row, now) if status is Status.PROCESSING else None


def _held(row: Row, now: int) -> Wait | None:
    """Find out what a task waits for, if it has a worker or its worker died."""
    lease_until = maybe_whole(row, "lease_until") or 0
    free_at = max(lease_until, whole(row, "rest_until"))
    if lease_until <= now:
        return Wait("lease", free_at if free_at > now else None)
    if whole(row, "calls_in_flight"):
        return None
    until = maybe_whole(row, "wait_until")
    if until is not None and until > now:
        return Wait(_reason(row), until)
    # A live worker renews its lease before half of it has passed. If more than half of the lease has passed, the worker
    # has not renewed it and so seems dead. In the first half of its lease, a worker without calls may wait for its turn
    # to probe a model that is away.
    if now - whole(row, "announced_at") > lease_until - now:
        return Wait("lease", free_at)
    return Wait("model_away", None) if maybe_text(row, "wait_reason") == "model_away" else None


def _ahead(row: Row) -> int | None:
    return maybe_whole(row, "ahead") if "ahead" in row else None


def _reason(row: Row) -> str:
    """Return the reason for a task's wait: the reason that its worker wrote, or why its worker released it or died."""
    if whole(row, "idle_runs"):
        return "database"
    return maybe_text(row, "wait_reason") or ("lease" if whole(row, "stalls") else "backoff")
