"""Holds what the API says of each task against the model server's ledger."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.chaos_work import Submission
from tests.support.model_plan import Call

Json = dict[str, Any]


@dataclass(slots=True)
class Audit:
    """What was found. `violations` is empty when every promise was kept."""

    statuses: Counter[str] = field(default_factory=Counter)
    routes: Counter[str] = field(default_factory=Counter)
    model_calls: int = 0
    minimum_calls: int = 0
    in_doubt: int = 0
    ledger_calls: int = 0
    asked_again: int = 0
    lost_replies: int = 0
    violations: list[str] = field(default_factory=list)


def audit(accepted: Iterable[str], tasks: list[Json], calls: list[Call]) -> Audit:
    """Compare task by task. `accepted` are the ids that clients got with a 202, `tasks` all that the API lists."""
    found = Audit(ledger_calls=len(calls))
    by_origin: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        by_origin[call.system.rpartition("origin ")[2].rstrip(".")].append(call)
    known = {task["id"] for task in tasks}
    promised = set(accepted)
    found.lost_replies = len(known - promised)
    found.violations += [f"{task_id}: accepted and gone" for task_id in sorted(promised - known)]
    for task in tasks:
        origin = Submission.of_metadata(task["metadata"])
        found.violations += [
            f"{task['id']} ({origin.tag}): {fault}" for fault in _faults(task, origin, by_origin.pop(origin.tag, []))
        ]
        found.statuses[task["status"]] += 1
        found.routes[task["route"]] += 1
        usage = task["usage"]
        found.model_calls += usage["modelCalls"]
        found.minimum_calls += usage["minimumCalls"]
        found.in_doubt += usage["inDoubt"]
    found.violations += [f"{len(strays)} calls for {tag}, which no task has" for tag, strays in by_origin.items()]
    for repeats in _good_repeats(calls).values():
        found.asked_again += repeats
    return found


def _faults(task: Json, origin: Submission, calls: list[Call]) -> Iterable[str]:
    usage = task["usage"]
    if not task["terminal"]:
        yield f"still {task['status']}"
        return
    if task["status"] != "completed":
        yield f"ended as {task['status']}: {task['error']}"
    elif task["result"]["output"] != origin.result():
        yield f"wrong output: {task['result']['output']!r:.200}"
    if not usage["modelCalls"] - usage["inDoubt"] <= len(calls) <= usage["modelCalls"]:
        yield f"the server counted {len(calls)} calls, the task {usage['modelCalls']} with {usage['inDoubt']} in doubt"
    if (repeats := sum(_good_repeats(calls).values())) > usage["inDoubt"]:
        yield f"{repeats} calls repeated a good answer, and only {usage['inDoubt']} were in doubt"


def _good_repeats(calls: list[Call]) -> dict[tuple[str, str], int]:
    """For each distinct request, the calls that were made after one of them had been answered well."""
    repeats: dict[tuple[str, str], int] = {}
    answered: dict[tuple[str, str], float] = {}
    for call in sorted(calls, key=lambda call: call.arrived_at):
        key = (call.system, call.user)
        if key in answered and call.arrived_at > answered[key]:
            repeats[key] = repeats.get(key, 0) + 1
        if call.complete and call.answered == "ok" and call.ended_at is not None:
            answered.setdefault(key, call.ended_at)
    return repeats
