"""`cancel`, `retry` and `delete`: change what becomes of tasks."""

from collections.abc import Callable
from typing import Annotated

import typer

from .. import terminal
from ..connection import Api
from ..errors import CommandError, Refused, Unreachable
from ..exits import Exit
from ..progress import last_line
from ..shapes import Json, many
from .flags import CreatedAfter, CreatedBefore, Form, Key, Output, TaskId, TaskIds, Url, connect, examples


def cancel(
    context: typer.Context, task_id: TaskId, output: Output = Form.TEXT, url: Url = None, key: Key = None
) -> None:
    """Cancel a task: no model call starts afterwards."""
    with connect(context, url, key) as api:
        task = api.ask("POST", f"/api/tasks/{task_id}/cancel")
    if output is Form.JSON:
        terminal.write_json(task)
    terminal.say(last_line(task))


def retry(
    context: typer.Context,
    task_ids: Annotated[list[str] | None, typer.Argument(metavar="ID…", show_default=False)] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed tasks that the filters below name.")] = False,
    error_code: Annotated[
        str | None, typer.Option("--error-code", metavar="CODE", help="Only tasks that failed with this code.")
    ] = None,
    created_after: CreatedAfter = None,
    created_before: CreatedBefore = None,
    max_calls: Annotated[
        int | None, typer.Option("--max-calls", min=1, help="A new budget, all attempts together; with ids only.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --failed: how many tasks and calls it would be.")
    ] = False,
    output: Output = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Let failed or cancelled tasks go on from the parts that they have."""
    filters = {"errorCode": error_code, "createdAfter": created_after, "createdBefore": created_before}
    given = {name: value for name, value in filters.items() if value is not None}
    if bool(task_ids) == failed:
        raise CommandError("name the tasks, or say --failed for all of them")
    if task_ids and (given or dry_run):
        raise CommandError("--error-code, --created-after, --created-before and --dry-run go with --failed")
    if failed and max_calls is not None:
        raise CommandError("--max-calls is the budget of one task: name the task")
    with connect(context, url, key) as api:
        if failed:
            _retry_all(api, given, output, is_dry=dry_run)
            return
        body = None if max_calls is None else {"maxModelCalls": max_calls}
        wanted = task_ids or []
        done, refused = _each(wanted, lambda one: api.ask("POST", f"/api/tasks/{one}/retry", body=body))
    if output is Form.JSON:
        terminal.write_json({"tasks": done, "refused": refused})
    else:
        terminal.write("".join(f"{task['id']}\n" for task in done))
    _end(refused, len(wanted) - len(done) - len(refused))


def _retry_all(api: Api, filters: Json, output: Form, *, is_dry: bool) -> None:
    """Put all failed tasks back, a hundred a request, or say what that would come to."""
    found = api.ask("POST", "/api/tasks/retry", body={**filters, "dryRun": True})
    if is_dry:
        text = f"{many(found['tasks'], 'task')}, {found['minimumCalls']} to {found['maximumCalls']} model calls\n"
        _tell(found, text, output)
        return
    done, stopped = _rounds(api, filters, found["tasks"])
    _tell(done, f"{many(done['retried'], 'task')} put back\n", output)
    if stopped is not None:
        raise stopped
    if done["more"]:
        terminal.say("There are more failed tasks, some of which may have failed again: onceover list --status failed")


def _rounds(api: Api, filters: Json, most: int) -> tuple[Json, CommandError | None]:
    """Put back as many tasks as there were, and say what ended it early. Raises what the first request raises.

    A task that fails again at once is found again by the next request, so without `most` this would go on, and cost,
    for as long as tasks fail.
    """
    done: Json = {"retried": 0, "more": False}
    is_first = True
    while done["retried"] < most and (is_first or done["more"]):
        try:
            page = api.ask("POST", "/api/tasks/retry", body=filters)
        except (Refused, Unreachable) as error:
            if is_first:
                raise
            return done, error
        done = {"retried": done["retried"] + page["retried"], "more": page["more"]}
        if page["retried"] == 0:
            break
        is_first = False
    return done, None


def _tell(found: Json, text: str, output: Form) -> None:
    """Write what was found or done."""
    if output is Form.JSON:
        terminal.write_json(found)
    else:
        terminal.write(text)


def delete(
    context: typer.Context, task_ids: TaskIds, output: Output = Form.TEXT, url: Url = None, key: Key = None
) -> None:
    """Erase tasks with their inputs and outputs, for good. One that goes on is cancelled."""
    with connect(context, url, key) as api:

        def erase(one: str) -> Json:
            api.ask("DELETE", f"/api/tasks/{one}")
            return {"id": one}

        done, refused = _each(task_ids, erase)
    if output is Form.JSON:
        terminal.write_json({"deleted": [one["id"] for one in done], "refused": refused})
    else:
        terminal.write("".join(f"{one['id']}\n" for one in done))
    _end(refused, len(task_ids) - len(done) - len(refused))


def _each(task_ids: list[str], change: Callable[[str], Json]) -> tuple[list[Json], list[Json]]:
    """Change each task. A refusal of one keeps none of the others from being changed.

    What would stop the others, too, ends it: they are not tried, and what was done before is still returned.
    """
    done: list[Json] = []
    refused: list[Json] = []
    for one in task_ids:
        try:
            done.append(change(one))
        except Refused as error:
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
    """Add the commands."""
    app.command(epilog=examples("onceover cancel $ID"))(cancel)
    app.command(
        epilog=examples(
            "onceover retry $ID --max-calls 200",
            "onceover retry --failed --error-code model_unavailable --dry-run",
            "onceover retry --failed --created-after 2026-11-25T00:00:00Z",
        )
    )(retry)
    app.command(epilog=examples("onceover delete $ID"))(delete)
