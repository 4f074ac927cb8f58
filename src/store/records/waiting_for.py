"""Why no work is done for a task, according to its row."""

import json

from ...core.states import Status
from ...core.task import LastError, Wait
from ..d1.columns import maybe_text, maybe_whole, whole
from ..d1.database import Row

# After a rollback, a stored error may have more fields than this class.
_KNOWN = frozenset(LastError._fields)


def last_error(row: Row) -> LastError | None:
    """Read the last call that failed, unless a call has succeeded since."""
    found = maybe_text(row, "last_error")
    if found is None:
        return None
    return LastError(**{name: value for name, value in json.loads(found).items() if name in _KNOWN})


def news_at(row: Row) -> int:
    """Say when something last happened to an unfinished task, or when the first of a row of failures began."""
    error = last_error(row)
    if error is not None:
        return error.since
    return max(whole(row, "created_at"), maybe_whole(row, "announced_at") or 0, maybe_whole(row, "sent_at") or 0)


def waiting_for(row: Row, status: Status) -> Wait | None:
    """Say what a task waits for.

    Returns None if calls are out, if the worker is about to make some, or if the task has ended.

    A worker that died leaves a lease, which ends at a known time or has ended.
    """
    now = whole(row, "read_at")
    if status is Status.PENDING:
        not_before = whole(row, "not_before")
        return Wait(_reason(row), not_before) if not_before > now else Wait("queued", None, _ahead(row))
    return _held(row, now) if status is Status.PROCESSING else None


def _held(row: Row, now: int) -> Wait | None:
    """Say what a task waits for that has, or had, a worker."""
    lease_until = maybe_whole(row, "lease_until") or 0
    free_at = max(lease_until, whole(row, "rest_until"))
    if lease_until <= now:
        return Wait("lease", free_at if free_at > now else None)
    if whole(row, "calls_in_flight"):
        return None
    until = maybe_whole(row, "wait_until")
    if until is not None and until > now:
        return Wait(_reason(row), until)
    # A live worker renews its lease before half of it has passed. Until half of the lease has passed, a live worker may
    # wait for its turn to probe a model that is away.
    if now - whole(row, "announced_at") > lease_until - now:
        return Wait("lease", free_at)
    return Wait("model_away", None) if maybe_text(row, "wait_reason") == "model_away" else None


def _ahead(row: Row) -> int | None:
    return maybe_whole(row, "ahead") if "ahead" in row else None


def _reason(row: Row) -> str:
    """Name the reason that a worker wrote, or that made it give its task back."""
    if whole(row, "idle_runs"):
        return "database"
    return maybe_text(row, "wait_reason") or ("lease" if whole(row, "stalls") else "backoff")
