"""Runs a small task on the deployment: it is submitted, processed, read and erased."""

import time
from collections.abc import Callable

from ..connection import ApiClient
from ..errors import ServerRefused, Unreachable
from ..shapes import many
from ..submission import fresh_key
from .findings import Check, fault, ok
from .model import model_fix

_TEXT = "onceover doctor sends this text to see whether a task runs from end to end. 一段用于检查的短文。"
_SECONDS_MOST = 120.0
_HELD_SECONDS = "10"
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
    tail = "make dev prints why" if api.where.is_local else "npx wrangler tail"
    try:
        task = api.ask("POST", "/api/tasks", body=body, headers={"Idempotency-Key": fresh_key()})
        path = f"/api/tasks/{task['id']}"
        while not task["terminal"] and clock() - began < _SECONDS_MOST + 30:
            task = api.get(path, {"wait": _HELD_SECONDS})
        api.ask("DELETE", path)
    except (Unreachable, ServerRefused) as error:
        return fault("task", f"the trial could not run: {error}", tail)
    took = f"{clock() - began:.1f} s"
    if task["status"] == "completed":
        calls = task["usage"]["modelCalls"]
        return ok(
            "task",
            f"a task completed in {took} by the {task['route']} route with {many(calls, 'model call')}, and was erased",
        )
    # The last failed call is the cause, whatever ended the task: its budget of calls, its deadline, or this check.
    cause = task.get("lastError") or task["error"] or {"code": "", "message": ""}
    waits = "" if cause["code"] else f", waiting for {(task.get('waitingFor') or {}).get('reason', 'nothing known')}"
    said = f": {cause['code']}, {cause['message']}" if cause["code"] else waits
    did = task["status"] if task["terminal"] else f"was still {task['status']} after {took}"
    fix = model_fix(cause["message"], is_local=api.where.is_local) or tail
    return fault("task", f"the trial {did}{said}", fix)
