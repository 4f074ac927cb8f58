"""Checks a running deployment: its triggers, its waiting tasks, its free storage."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from ..shapes import Json, many
from .findings import Check, Level, fault, ok, skipped, warning

# How old the last sweep may be: cron fires each minute, and the server may report a time of its last sweep that is up
# to five minutes too old.
_SWEEP_LATE: Final = timedelta(minutes=10)
_PENDING_LONG_SECONDS: Final = 600
# For so long tasks may wait for the first message of a queue, or the first alarm, that has ever come.
_FIRST_SECONDS: Final = 30
_ROOM_LEFT: Final = 0.9
MORE_ROOM: Final = (
    "delete ended tasks (onceover delete), lower RETENTION_DAYS, or raise STORAGE_MB_MOST on the paid plan"
)


def triggers(outlook: Json, bound: Json, now: datetime, *, is_local: bool) -> Iterator[Check]:
    """Judge the operators' view of the status: triggers, backlog, storage, and the use of the day's allowances."""
    yield from _day_use(outlook)
    if "backlog" not in outlook:
        fix = "set ONCEOVER_KEY to a key of the operator's tenant with the scope admin"
        yield skipped("triggers", "only operators see triggers, backlog and storage", fix)
        return
    backlog = outlook["backlog"]
    waits = backlog["oldestPendingSeconds"] or 0
    yield _sweep(outlook, now, is_local=is_local)
    if bound["hasAIQueue"]:
        yield _carrier("queue", "the queue", outlook.get("lastQueueAt"), waits, now)
    elif bound["hasDurableObjects"]:
        yield _carrier("alarm", "an object's alarm", outlook.get("lastAlarmAt"), waits, now)
    counts = f"{backlog['pending']} pending, {backlog['processing']} processing"
    if waits > _PENDING_LONG_SECONDS:
        fix = "onceover top; then onceover list --status pending, and npx wrangler tail"
        yield warning("backlog", f"{counts}; the oldest has waited for {waits} s", fix)
    else:
        yield ok("backlog", counts)
    yield _storage(outlook["storage"])
    files = outlook.get("files") or {}
    if incomplete := files.get("incomplete"):
        text = f"the bucket lacks parts of the texts of {many(incomplete, 'task')}: does it belong to another database?"
        fix = "bind the bucket that belongs to this database as BLOBS in wrangler.toml, then make deploy"
        yield fault("bucket", text, fix)
    if waiting := files.get("unreachable"):
        text = f"BLOBS binding is missing, and {waiting} unfinished tasks or batches need files that lie in its bucket"
        yield fault("bucket", text, "put [[r2_buckets]] back into wrangler.toml, then make deploy; or cancel them")


def _sweep(outlook: Json, now: datetime, *, is_local: bool) -> Check:
    fix = 'check for `crons = ["* * * * *"]` under [triggers] in wrangler.toml, then make deploy'
    last = outlook.get("lastSweepAt")
    if last is None:
        if is_local:
            return Check("cron", Level.NOTE, "the cron trigger has not run yet; it runs every minute")
        return fault("cron", "the cron trigger has never run", fix)
    since = now - _time(last)
    if since > _SWEEP_LATE:
        return fault("cron", f"the last sweep was at {last}, {_minutes(since)} ago: the cron trigger does not run", fix)
    # Three minutes after cron has stopped, a request runs the sweep instead, and the log has `sweep_missed`.
    return ok("cron", f"the last sweep was at {last}")


def _carrier(check_id: str, name: str, last: str | None, waits: int, now: datetime) -> Check:
    """Judge when the queue or an object's alarm last ran. A late run is a fault only if a task has waited long."""
    most = _FIRST_SECONDS if last is None else _PENDING_LONG_SECONDS
    if waits > most and (last is None or now - _time(last) > timedelta(seconds=most)):
        seen = "has never run" if last is None else f"last ran at {last}"
        fix = "npx wrangler queues list (is there a consumer?), npx wrangler tail, then make deploy"
        return fault(check_id, f"failing messages: tasks have waited for {waits} s, and {name} {seen}", fix)
    return ok(check_id, "nothing has been sent yet" if last is None else f"last ran at {last}")


def _storage(storage: Json) -> Check:
    share = storage["bytes"] / storage["most"]
    said = f"{storage['bytes'] / 1e6:.1f} of {storage['most'] / 1e6:.0f} MB"
    fix = MORE_ROOM
    if share >= 1:
        return fault("storage", f"full: {said}; new tasks are refused", fix)
    if share >= _ROOM_LEFT:
        return warning("storage", f"nearly full: {said}; ended tasks are being erased early", fix)
    return ok("storage", said)


def _day_use(outlook: Json) -> Iterator[Check]:
    """Judge the use of the free plan's daily allowances, which only the local runtime reports."""
    for name, used in (outlook.get("usage") or {}).items():
        if isinstance(used, dict) and used["used"] >= _ROOM_LEFT * used["limit"]:
            text = f"{name}: {used['used']} of the free plan's {used['limit']} a day"
            yield warning("quota", text, "wait for midnight UTC, or change to the Workers Paid plan")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _minutes(span: timedelta) -> str:
    return f"{round(span.total_seconds() / 60)} minutes"
