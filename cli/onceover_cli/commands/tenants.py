"""The command `tenant`, for operators: lists tenants with their figures, and exports or erases a tenant's tasks."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from .. import tenants, terminal
from ..connection import ApiClient
from ..errors import CommandError
from ..exits import Exit
from ..shapes import Json, many
from ..tenants import Erased, Exported, Tenant
from .flags import Form, Key, OutputFile, OutputForm, Quiet, Url, connect, examples

app = typer.Typer(
    no_args_is_help=True,
    help="Tenants; needs a key with the scopes operator and read, and write to erase.",
    rich_markup_mode="rich",
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="The tenant.", show_default=False)]

_STAYS = (
    "These stay: the tenant's keys (its admin or the deployment's operator revokes them), its webhook "
    "endpoints, today's count of its characters until tomorrow, its cap and what it cost this month, the sums of "
    "metrics, log lines, and the database's own backups (Time Travel) until they expire."
)


@app.command("list", epilog=examples("onceover tenant list", "onceover tenant list --hours 48 -o json"))
def list_tenants(
    context: typer.Context,
    hours: Annotated[int, typer.Option("--hours", min=1, max=48, help="Tasks of the last N hours.")] = 24,
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """List the tenants that have tasks: how these ended lately, why they failed and what they cost."""
    found: list[Json] = []
    with connect(context, url, key) as api:
        # Without a key there is only the tenant `local`, where no keys are checked.
        every = {} if api.where.key is None else {"tenant": "*"}
        cursor: str | None = ""
        while cursor is not None:
            at = {"cursor": cursor} if cursor else {}
            page = api.get("/api/tenants", {"hours": str(hours), **every, **at})
            found += page["tenants"]
            cursor = page["nextCursor"]
    if form is Form.JSON:
        terminal.write_json({"hours": hours, "tenants": found})
        return
    rows = [
        [
            one["tenant"],
            f"{one['tasks']}{'+' if one['more'] else ''}",
            str(one["pending"] + one["processing"]),
            str(one["failed"]),
            ", ".join(f"{cause['code']} {cause['tasks']}" for cause in one["failures"][:3]),
            str(one["modelCalls"]),
            str(one["inDoubt"] or ""),
            f"{one['inputTokens']}/{one['outputTokens']}",
            (one.get("cost") or {}).get("amount", ""),
        ]
        for one in found
    ]
    terminal.write_table(
        ["TENANT", "TASKS", "UNFINISHED", "FAILED", "WHY", "CALLS", "DOUBT", "TOKENS IN/OUT", "COST $"], rows
    )


@app.command(
    epilog=examples(
        "onceover tenant limits acme",
        "onceover tenant limits acme --monthly-cost-most 20",
        "onceover tenant limits acme --no-cap",
    )
)
def limits(
    context: typer.Context,
    name: Name,
    most: Annotated[
        str | None, typer.Option("--monthly-cost-most", metavar="DOLLARS", help="Set the cap for each month (UTC).")
    ] = None,
    no_cap: Annotated[bool, typer.Option("--no-cap", help="Remove the cap.")] = False,
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Show or set what the calls of a tenant may cost in a month. Needs the scope admin of the operator's tenant."""
    path = f"/api/tenants/{_one(name)}/limits"
    if most is not None and no_cap:
        raise CommandError("give --monthly-cost-most or --no-cap, not both")
    with connect(context, url, key) as api:
        body = {"monthlyCostMost": most}
        found = api.get(path) if most is None and not no_cap else api.ask("PUT", path, body=body)
    if form is Form.JSON:
        terminal.write_json(found)
    elif found["monthlyCostMost"] is None:
        terminal.write(f"{name} has no cap\n")
    else:
        cells = [found[one] for one in ("monthlyCostMost", "booked", "inDoubt", "out", "countedFrom")]
        terminal.write_table(["CAP, USD", "BOOKED", "IN DOUBT", "OUT", "COUNTED FROM"], [cells])


@app.command(
    epilog=examples(
        "onceover tenant export acme --output acme.jsonl", "onceover tenant export acme | gzip > acme.jsonl.gz"
    )
)
def export(
    context: typer.Context,
    name: Name,
    output: OutputFile = None,
    quiet: Quiet = False,
    url: Url = None,
    key: Key = None,
) -> None:
    """Write all tasks of a tenant, one JSON object a line, with their texts, results and deliveries.

    The batches and the list of the tenant's files are in it, and the bytes of the files are not. The same command again
    continues the file of --output.
    """
    with connect(context, url, key, tenant=_one(name)) as api:
        tenant, done = Tenant(api, terminal.say), Exported()
        if output is None:
            for line in tenants.export(tenant, name, done):
                terminal.write_plain(_text(line))
        else:
            done = _to_file(tenant, name, output, is_quiet=quiet)
    if not quiet:
        _tell(done)


def _to_file(tenant: Tenant, name: str, target: Path, *, is_quiet: bool) -> Exported:
    file, so_far = tenants.resume(target, name)
    try:
        with file:  # the file is closed within the `try`, because closing it fails too on a full disk
            if so_far.is_whole:
                terminal.say(f"{target} is already a complete export.")
                return so_far
            if so_far.is_begun and not is_quiet:
                terminal.say(f"Continuing after {many(so_far.tasks, 'task')} in {target}.")
            for line in tenants.export(tenant, name, so_far):
                file.write(_text(line).encode())
                file.flush()
    except (CommandError, OSError, KeyboardInterrupt) as error:
        terminal.say(f"The export is incomplete. Repeat the command to continue {target}.")
        if isinstance(error, OSError):
            raise CommandError(f"cannot write {target}: {error.strerror}") from None
        raise
    return so_far


def _text(line: Json) -> str:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n"


def _tell(done: Exported) -> None:
    said = f"{many(done.tasks, 'task')} exported"
    if done.files:
        said += f"; {many(done.files, 'file')} listed, whose bytes are at /v1/files/ID/content"
    if done.going_on:
        said += f"; {done.going_on} unfinished, exported as they were when read"
    if done.gone:
        said += f"; {done.gone} erased before they could be read"
    terminal.say(f"{said}. Tasks submitted since it began are left out; the last line counts them.")


@app.command(epilog=examples("onceover tenant erase acme", "onceover tenant erase acme --yes -o json"))
def erase(
    context: typer.Context,
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Cancel and erase all tasks and files of a tenant for good. A second run continues where the first one stopped."""
    with connect(context, url, key, tenant=_one(name)) as api:
        tenant = Tenant(api, terminal.say)
        if not yes:
            _ask(api, name, tenants.going_on(tenant))
        latest = Erased()

        def note(done: Erased) -> None:
            nonlocal latest
            latest = done
            if terminal.is_terminal(sys.stderr):
                terminal.say(f"{many(done.erased, 'task')} erased so far")

        try:
            done = tenants.erase(tenant, note)
        except (CommandError, KeyboardInterrupt):
            terminal.say(f"{many(latest.erased, 'task')} erased, but not all. Repeat the command to continue.")
            raise
    if form is Form.JSON:
        terminal.write_json({"tenant": name, "erased": done.erased, "gone": done.gone, "newer": done.newer})
    else:
        terminal.write(f"{many(done.erased, 'task')} erased\n")
    terminal.say(f"{many(done.files, 'file')} erased. {_STAYS}")
    left = [(done.newer, "task"), (done.newer_files, "file")]
    for count, what in left:
        if count:
            said = many(count, what) + (" or more" if count >= tenants.PAGE else "")
            terminal.say(f"{said} arrived since then, still there. Revoke the tenant's keys, then repeat the command.")
    if any(count for count, _ in left):
        raise typer.Exit(Exit.INCOMPLETE)


def _one(name: str) -> str:
    """Return `name` if it names one tenant. Raises `CommandError` for `*`, as `export` and `erase` take one tenant."""
    if name in {"", "*"}:
        raise CommandError("name one tenant: `onceover tenant list` shows them")
    return name


def _ask(api: ApiClient, name: str, going_on: int) -> None:
    """Ask whether to erase all tasks of a tenant. Raises `CommandError` if the user declines or has no terminal."""
    if not sys.stdin.isatty():
        raise CommandError(f"this erases all tasks and files of {name} at {api.where.url}: confirm with --yes")
    also = f", including {many(going_on, 'unfinished task')}" if going_on else ""
    terminal.say(f"This erases all tasks of tenant {name} at {api.where.url}{also}, with their texts and results.")
    terminal.say("It also erases all files of the tenant.")
    if typer.prompt("Type the tenant's name to continue", default="", show_default=False, err=True).strip() != name:
        raise CommandError("nothing was erased")
