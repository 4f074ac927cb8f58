"""Compares what the API says about each task of a chaos run with the model server's ledger of calls."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.support.chaos_work import Submission
from tests.support.model_plan import Call

Json = dict[str, Any]


@dataclass(slots=True)
class Audit:
    """The findings of an audit. `violations` is empty if the Worker kept every promise."""

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
    """Compare the API's tasks with the ledger's calls; `accepted` are the ids of answers 202."""
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
    found.asked_again = good_repeats(calls).total()
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
    if (repeats := good_repeats(calls).total()) > usage["inDoubt"]:
        yield f"{repeats} calls gave a good answer again, and only {usage['inDoubt']} were in doubt"


def good_repeats(calls: list[Call]) -> Counter[tuple[str, str]]:
    """Return for each distinct model request how many good answers it got after the first one.

    A request is never sent again once the Worker has its answer. So all good answers except the last one must have been
    lost in a crash, and the calls that got them must be in doubt. Failed calls between two good answers to the same
    request do not matter.
    """
    good = Counter((call.system, call.user) for call in calls if call.complete and call.answered == "ok")
    return Counter({request: count - 1 for request, count in good.items() if count > 1})
