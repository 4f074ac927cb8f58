"""The commands `status`, `result` and `list`."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from .. import terminal
from ..connection import ApiClient
from ..errors import CommandError
from ..exits import Exit, exit_of
from ..progress import last_line
from ..shapes import Json, is_terminal, output_text
from . import flags
from .details import chunk_pages
from .flags import CreatedAfter, CreatedBefore, Form, Key, OutputForm, Since, TaskId, Tenant, Url, connect, examples

_PAGE_MOST = 100
_NAME_CHARS = 60
# The columns of a list, the most useful ones first: a terminal shows those that fit.
_ORDER = ("ID", "TENANT", "STATUS", "CHUNKS", "WHY", "NAME", "CREATED", "CALLS", "CUT")


class RouteFilter(StrEnum):
    """The routes of a task."""

    QUEUE = "queue"
    DURABLE_OBJECT = "durable-object"
    DIRECT = "direct"


class StatusFilter(StrEnum):
    """The states of a task."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


def status(
    context: typer.Context,
    task_id: TaskId,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show the state of a task."""
    with connect(context, url, key, tenant=tenant) as api:
        task = api.get(f"/api/tasks/{task_id}")
    if form is Form.JSON:
        terminal.write_json(task)
    else:
        terminal.write("".join(f"{name:<12}{value}\n" for name, value in _lines(task) if value))


def _lines(task: Json) -> list[tuple[str, str]]:
    wait, error, last = task.get("waitingFor"), task.get("error"), task.get("lastError")
    waits = ""
    if wait:
        ahead = "" if wait.get("ahead") is None else f", {wait['ahead']} tasks ahead"
        waits = wait["reason"] + ahead + (f", until {wait['until']}" if wait.get("until") else "")
    return [
        ("id", task["id"]),
        ("name", name_of(task)),
        ("status", last_line(task)),
        ("waits for", waits),
        ("gaps", ", ".join(f"{gap['start']}-{gap['end']} ({gap['code']})" for gap in task.get("gaps") or [])),
        ("retry of", task.get("retryOf", "")),
        ("error", f"{error['code']}: {error['message']}" if error else ""),
        ("last error", f"{last['code']}: {last['message']} ({last['calls']} calls, {last['at']})" if last else ""),
        ("model", (task.get("request") or {}).get("model", "")),
        ("route", task["route"]),
        ("created", task["createdAt"]),
        ("started", task["startedAt"] or ""),
        ("expected end", f"{task['estimatedFinishAt']}" if task.get("estimatedFinishAt") else ""),
        ("finished", task["finishedAt"] or ""),
        ("kept until", f"{task['expiresAt']}" if task["expiresAt"] else ""),
    ]


def result(
    context: typer.Context,
    task_id: TaskId,
    partial: Annotated[
        bool, typer.Option("--partial", help="Print the outputs so far, whatever the task's status.")
    ] = False,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Print a task's result. The exit status says how the task ended."""
    with connect(context, url, key, tenant=tenant) as api:
        task = api.get(f"/api/tasks/{task_id}")
        text, is_complete = output_text(task), task["status"] == "completed"
        if not is_complete and not partial:
            _refuse(task)
        parts = [] if is_complete else [one["output"] for one in chunk_pages(api, task_id) if one["output"] is not None]
    if form is Form.JSON:
        shown = {
            "id": task["id"],
            "status": task["status"],
            "complete": is_complete,
            "truncated": task["progress"].get("truncated", 0),
            "output": task["result"]["output"] if is_complete else parts,
        }
        if is_complete and "value" in task["result"]:
            shown["value"] = task["result"]["value"]
        shown |= {name: task[name] for name in ("gaps", "coverage") if name in task}
        terminal.write_json(shown)
    elif is_complete:
        terminal.write(f"{text}\n")
    elif parts:
        terminal.write("\n\n".join(parts) + "\n")
    if not is_complete:
        terminal.say(f"onceover: these are {len(parts)} of {task['progress']['total']} chunks")
        raise typer.Exit(Exit.INCOMPLETE)
    raise typer.Exit(exit_of(task))


def _refuse(task: Json) -> None:
    """Say why a task has no result, and exit. If the task has ended, the exit status is the one for its end."""
    if not is_terminal(task):
        raise CommandError(
            f"the task is {task['status']}: `onceover watch {task['id']}` waits for its end, --partial shows "
            "the outputs so far"
        )
    terminal.say(f"{last_line(task)} `--partial` shows the outputs so far.")
    raise typer.Exit(exit_of(task))


def list_tasks(
    context: typer.Context,
    status: Annotated[StatusFilter | None, typer.Option("--status", help="Only tasks of this status.")] = None,
    q: Annotated[
        str | None, typer.Option("--q", help="Only tasks with this in the name, or whose id begins so.")
    ] = None,
    code: Annotated[str | None, typer.Option("--code", help="Only tasks that failed with this code.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only tasks whose calls go to this model.")] = None,
    route: Annotated[RouteFilter | None, typer.Option("--route", help="Only tasks of this route.")] = None,
    counts: Annotated[bool, typer.Option("--counts", help="Also count the newest tasks of each status.")] = False,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many at most.")] = 20,
    wide: Annotated[
        bool, typer.Option("--wide", help="Show every column, however wide the terminal is. A pipe gets them all.")
    ] = False,
    since: Since = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """List tasks, the newest first."""
    after = flags.created_after(created_after, since)
    query = {"q": q, "status": status, "code": code, "model": model, "route": route}
    query |= {"createdAfter": after, "createdBefore": created_before}
    with connect(context, url, key, tenant=tenant) as api:
        asked = {name: str(value) for name, value in query.items() if value is not None}
        found = pages(api, asked, limit, counts=counts)
    if form is Form.JSON:
        terminal.write_json(found)
        return
    # A list of several tenants' tasks has a column for the tenant.
    is_named = any("tenant" in task for task in found["tasks"])
    rows = [
        [
            task["id"],
            *([task.get("tenant", "")] if is_named else []),
            task["status"],
            f"{task['progress']['completed']}/{task['progress']['total'] or '?'}",
            str(task["usage"]["modelCalls"]),
            task["createdAt"],
            (task["error"] or {}).get("code", "") or (task.get("waitingFor") or {}).get("reason", ""),
            str(task["progress"].get("truncated") or ""),
            name_of(task),
        ]
        for task in found["tasks"]
    ]
    headings = ["ID", *(["TENANT"] if is_named else []), "STATUS", "CHUNKS", "CALLS", "CREATED", "WHY", "CUT", "NAME"]
    terminal.write_list(headings, rows, _ORDER, "NAME", is_wide=wide)
    if "counts" in found:
        terminal.say(_counted(found["counts"]))
    if found["nextCursor"] is not None and terminal.is_terminal(sys.stdout):
        terminal.say(f"There are more: use -n {limit * 5}.")


def _counted(counts: Json) -> str:
    among = f"all {counts['among']} tasks" if counts["all"] else f"the newest {counts['among']} tasks"
    return f"Of {among}: " + ", ".join(f"{counts[status]} {status}" for status in StatusFilter) + "."


def name_of(task: Json) -> str:
    """Return a task's name, from the server or, if an older server gives none, from the task's metadata."""
    if task.get("name") is not None:
        return str(task["name"])[:_NAME_CHARS]
    metadata = task.get("metadata") or {}
    found = next((metadata[one] for one in ("name", "title", "label") if metadata.get(one) is not None), "")
    return " ".join(found.split())[:_NAME_CHARS] if isinstance(found, str) else ""


def pages(api: ApiClient, query: dict[str, str], limit: int, *, counts: bool = False) -> Json:
    """Read up to `limit` tasks, page by page.

    A page of a filtered list of tasks may be empty although later pages have tasks. With `counts`, the numbers of tasks
    by status are read with the first page.
    """
    found: list[Json] = []
    more: dict[str, str] = {"counts": "true"} if counts else {}
    counted: Json = {}
    while True:
        page_size = str(min(_PAGE_MOST, limit - len(found)))
        page = api.get("/api/tasks", {**query, "limit": page_size, **more})
        found += page["tasks"]
        counted = counted or ({"counts": page["counts"]} if "counts" in page else {})
        cursor = page["nextCursor"]
        if cursor is None or len(found) >= limit:
            return {"tasks": found, "nextCursor": cursor, **counted}
        more = {"cursor": cursor}


def register(app: typer.Typer) -> None:
    """Add the commands `status`, `result` and `list` to the program."""
    app.command(epilog=examples("onceover status $ID", "onceover status $ID -o json | jq .progress"))(status)
    app.command(epilog=examples("onceover result $ID > result.md", "onceover result $ID --partial"))(result)
    app.command(
        "list", epilog=examples("onceover list --status failed --since 1d", "onceover list --q minutes --counts")
    )(list_tasks)
