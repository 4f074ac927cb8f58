"""The commands `cancel`, `retry` and `delete`."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from .. import bulk_changes, terminal
from ..bulk_changes import CANCEL, RETRY, ChangeKind
from ..connection import ApiClient
from ..errors import CommandError, ServerRefused, Unreachable
from ..exits import Exit
from ..progress import last_line
from ..shapes import Json, many
from . import flags
from .flags import CreatedAfter, CreatedBefore, Form, Key, OutputForm, Since, TaskIds, Tenant, Url, connect, examples


class GoingOn(StrEnum):
    """A status that a task may have before it has ended."""

    PENDING = "pending"
    PROCESSING = "processing"


def cancel(
    context: typer.Context,
    task_ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="All unfinished tasks that match the filters below.")] = False,
    status: Annotated[GoingOn | None, typer.Option("--status", help="Only tasks of this status.")] = None,
    since: Since = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --all: only count the tasks.")] = False,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Cancel tasks. No model call of theirs starts afterwards."""
    after = flags.created_after(created_after, since)
    filters: Json = {"status": status, "createdAfter": after, "createdBefore": created_before}
    given = {name: value for name, value in filters.items() if value is not None}
    if bool(task_ids) == every:
        raise CommandError("name the tasks, or use --all for all unfinished tasks")
    if task_ids and (given or dry_run):
        raise CommandError("--status, --since, --created-after, --created-before and --dry-run need --all")
    with connect(context, url, key, tenant=tenant) as api:
        if every:
            _many(api, CANCEL, given, form, is_dry=dry_run)
            return
        wanted = task_ids or []
        if len(wanted) == 1:
            _cancel_one(api, wanted[0], form)
            return
        done, refused = _each(wanted, lambda one: api.ask("POST", f"/api/tasks/{one}/cancel"))
    _show(done, refused, form)
    _end(refused, len(wanted) - len(done) - len(refused))


def _cancel_one(api: ApiClient, task_id: str, form: Form) -> None:
    task = api.ask("POST", f"/api/tasks/{task_id}/cancel")
    if form is Form.JSON:
        terminal.write_json(task)
    terminal.say(last_line(task))


def retry(
    context: typer.Context,
    task_ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", show_default=False)] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed tasks that match the filters below.")] = False,
    error_code: Annotated[
        str | None, typer.Option("--error-code", metavar="CODE", help="Only tasks that failed with this code.")
    ] = None,
    since: Since = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    max_calls: Annotated[
        int | None, typer.Option("--max-calls", min=1, help="A new budget for all attempts together; only with ids.")
    ] = None,
    max_cost: Annotated[
        str | None, typer.Option("--max-cost", metavar="DOLLARS", help="A new cap for all attempts; only with ids.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --failed: only count the tasks and calls.")] = False,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Continue failed or cancelled tasks, or make the gaps of completed ones. Finished chunks are kept."""
    after = flags.created_after(created_after, since)
    filters = {"errorCode": error_code, "createdAfter": after, "createdBefore": created_before}
    given = {name: value for name, value in filters.items() if value is not None}
    if bool(task_ids) == failed:
        raise CommandError("name the tasks, or use --failed for all failed tasks")
    if task_ids and (given or dry_run):
        raise CommandError("--error-code, --since, --created-after, --created-before and --dry-run need --failed")
    budget = {"maxModelCalls": max_calls, "maxCost": max_cost}
    budget = {name: value for name, value in budget.items() if value is not None}
    if failed and budget:
        raise CommandError("--max-calls and --max-cost are the budget of one task: name the task")
    with connect(context, url, key, tenant=tenant) as api:
        if failed:
            _many(api, RETRY, given, form, is_dry=dry_run)
            return
        body = budget or None
        wanted = task_ids or []
        done, refused = _each(wanted, lambda one: api.ask("POST", f"/api/tasks/{one}/retry", body=body))
    for task in done:
        if task["id"] not in wanted:
            made = "lines without an answer" if task.get("kind") == "batch" else "gaps"
            terminal.say(f"{task['id']} is a new task: it makes the {made} of {task['retryOf']}")
    _show(done, refused, form)
    _end(refused, len(wanted) - len(done) - len(refused))


def _many(api: ApiClient, bulk: ChangeKind, filters: Json, form: Form, *, is_dry: bool) -> None:
    """Retry or cancel all tasks that match the filters, or with `is_dry` show what would change."""
    if is_dry:
        found = bulk_changes.plan(api, bulk, filters)
        _tell(found, bulk_changes.described(found), form)
        return
    done, stopped = bulk_changes.carry_out(api, bulk, filters)
    _tell(done, f"{many(done[bulk.counts], 'task')} {bulk.done}\n", form)
    if stopped is not None:
        raise stopped
    if done["more"]:
        terminal.say(bulk.others)


def _show(done: list[Json], refused: list[Json], form: Form) -> None:
    """Print the ids of the tasks that a command changed, or as JSON the changed tasks and the refusals."""
    if form is Form.JSON:
        terminal.write_json({"tasks": done, "refused": refused})
    else:
        terminal.write("".join(f"{task['id']}\n" for task in done))


def _tell(found: Json, text: str, form: Form) -> None:
    """Print the plan or the result of a bulk change."""
    if form is Form.JSON:
        terminal.write_json(found)
    else:
        terminal.write(text)


def delete(
    context: typer.Context,
    task_ids: TaskIds,
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Erase tasks with their inputs and outputs for good. A task that has not ended is cancelled first."""
    with connect(context, url, key, tenant=tenant) as api:

        def erase(one: str) -> Json:
            api.ask("DELETE", f"/api/tasks/{one}")
            return {"id": one}

        done, refused = _each(task_ids, erase)
    if form is Form.JSON:
        terminal.write_json({"deleted": [one["id"] for one in done], "refused": refused})
    else:
        terminal.write("".join(f"{one['id']}\n" for one in done))
    _end(refused, len(task_ids) - len(done) - len(refused))


def _each(task_ids: list[str], change: Callable[[str], Json]) -> tuple[list[Json], list[Json]]:
    """Change the given tasks one by one, and go on after the server has refused to change one.

    The loop over the tasks ends at an error that would also prevent the next changes: no connection, or a refused key.
    Returns the tasks that were changed, and the server's refusals to change others.
    """
    done: list[Json] = []
    refused: list[Json] = []
    for one in task_ids:
        try:
            done.append(change(one))
        except ServerRefused as error:
            refused.append({"id": one, "code": error.code, "message": str(error)})
            if error.status in {401, 403}:
                break
        except Unreachable as error:
            refused.append({"id": one, "code": "unreachable", "message": str(error)})
            break
    return done, refused


def _end(refused: list[Json], untried: int) -> None:
    for one in refused:
        terminal.say(f"error: {one['id']}: {one['message']}")
    if untried:
        terminal.say(f"error: stopped there; {untried} more {'was' if untried == 1 else 'were'} not tried")
    if refused:
        raise typer.Exit(Exit.COULD_NOT_RUN)


def register(app: typer.Typer) -> None:
    """Add the commands `cancel`, `retry` and `delete` to the program."""
    app.command(
        epilog=examples(
            "onceover cancel $ID",
            "onceover cancel --all --since 2h --dry-run",
            "onceover cancel --all --status pending",
        )
    )(cancel)
    app.command(
        epilog=examples(
            "onceover retry $ID --max-calls 200",
            "onceover retry --failed --error-code model_unavailable --dry-run",
            "onceover retry --failed --since 1d",
        )
    )(retry)
    app.command(epilog=examples("onceover delete $ID"))(delete)
