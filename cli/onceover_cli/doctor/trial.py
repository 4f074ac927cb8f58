"""Runs a small task on the deployment: it is submitted, processed, read and erased."""

import time
from collections.abc import Callable

from ..connection import ApiClient
from ..errors import ServerRefused, Unreachable
from ..shapes import Json, many
from ..submission import fresh_key
from .failures import HELP
from .findings import Check, fault, ok, warning
from .model import model_fix

_TEXT = "onceover doctor sends this text to see whether a task runs from end to end. 一段用于检查的短文。"
_SECONDS_MOST = 120.0
_HELD_SECONDS = "10"
# A call that fails may succeed next time, a slow model may answer, a message may be late: the trial waits so long.
_FAILING_SECONDS_MOST = 15.0
_SILENT_SECONDS_MOST = 40.0
# The most model calls of the trial, which `make deploy` announces before it runs the trial.
CALLS_MOST = 3


def trial(api: ApiClient, clock: Callable[[], float] = time.monotonic) -> Check:
    """Run a task that needs one model call, and report how long it took."""
    began = clock()
    body = {
        "input": _TEXT,
        "deadlineSeconds": _SECONDS_MOST,
        "maxModelCalls": CALLS_MOST,
        "metadata": {"from": "onceover doctor"},
    }
    try:
        task = api.ask("POST", "/api/tasks", body=body, headers={"Idempotency-Key": fresh_key()})
        path, before = f"/api/tasks/{task['id']}", 0
        while not task["terminal"] and clock() - began < _patience(task, before):
            before = max(before, _ahead(task))
            task = api.get(path, {"wait": _HELD_SECONDS})
        api.ask("DELETE", path)
    except (Unreachable, ServerRefused) as error:
        if isinstance(error, ServerRefused) and error.code == "database_unavailable":
            return _unwritten(is_local=api.where.is_local)
        return fault("task", f"the trial could not run: {error}", _log(is_local=api.where.is_local))
    return _judged(task, f"{clock() - began:.1f} s", is_local=api.where.is_local)


def _judged(task: Json, took: str, *, is_local: bool) -> Check:
    """Return the result of a trial that is over, or was waited for long enough."""
    if task["status"] == "completed":
        calls = task["usage"]["modelCalls"]
        return ok(
            "task",
            f"a task completed in {took} by the {task['route']} route with {many(calls, 'model call')}, and was erased",
        )
    did = task["status"] if task["terminal"] else f"was still {task['status']} after {took}"
    # The last failed call is the cause, whatever ended the task: its budget of calls, its deadline, or this check.
    if cause := task.get("lastError") or task["error"]:
        fix = model_fix(cause["message"], is_local=is_local) or HELP.get(cause["code"], (_log(is_local=is_local),))[0]
        return fault("task", f"the trial {did}: {cause['code']}, {cause['message']}", fix)
    if _is_calling(task):
        return warning("task", f"the trial {did}: the model has not answered its call", HELP["model_timeout"][0])
    if _is_untouched(task):
        fix = "onceover doctor . (is a consumer or a binding missing?)"
        return fault("task", f"the trial {did}: no worker has started it, by the {task['route']} route", fix)
    waits = (task.get("waitingFor") or {}).get("reason", "nothing known")
    return fault("task", f"the trial {did}, waiting for {waits}", _log(is_local=is_local))


def _log(*, is_local: bool) -> str:
    return "make dev prints why" if is_local else "npx wrangler tail"


def _unwritten(*, is_local: bool) -> Check:
    """Return the result of a trial whose writes the database did not take, although it has just answered reads."""
    local = "`df -h`: free space on the disk of make dev's state directory; make dev prints whether the disk is full"
    fix = local if is_local else "npx wrangler d1 info onceover, and https://www.cloudflarestatus.com"
    return fault("task", "the trial could not run: the database answers, but takes no writes", fix)


def _patience(task: Json, before: int) -> float:
    """Return for how many seconds after its submission the trial's task is waited for, by its present state.

    `before` is the largest number of tasks that have been seen before it: while that number falls, workers work.
    """
    if task.get("lastError"):
        return _FAILING_SECONDS_MOST
    stands_still = _is_untouched(task) and _ahead(task) >= before
    return _SILENT_SECONDS_MOST if _is_calling(task) or stands_still else _SECONDS_MOST + 30


def _is_calling(task: Json) -> bool:
    return bool(task.get("calls", {}).get("out"))


def _is_untouched(task: Json) -> bool:
    """Whether no worker has started the task, which waits for nothing else."""
    return task.get("startedAt") is None and (task.get("waitingFor") or {}).get("reason") == "queued"


def _ahead(task: Json) -> int:
    """Return how many tasks of the same tenant are before the task."""
    return (task.get("waitingFor") or {}).get("ahead") or 0
