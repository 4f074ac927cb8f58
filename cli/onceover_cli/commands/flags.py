"""The flags that several commands share."""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .. import terminal
from ..connection import DEFAULT_URL, ApiClient, place
from ..errors import CommandError
from ..submission import seconds


class Form(StrEnum):
    """The formats of a command's output."""

    TEXT = "text"
    JSON = "json"


Url = Annotated[
    str | None,
    typer.Option("--url", envvar="ONCEOVER_URL", show_default="http://127.0.0.1:8787", help="The deployment."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="ONCEOVER_KEY",
        show_envvar=True,
        show_default=False,
        help="An API key. Others can see the command line (`ps`): prefer the variable.",
    ),
]
Tenant = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="NAME",
        show_default=False,
        help="Another tenant, with a key of the scope operator; * means all tenants, for commands on many tasks.",
    ),
]
OutputForm = Annotated[
    Form, typer.Option("-o", "--form", help="`json`: one JSON document on standard output, of a stable shape.")
]


def _refuse_form(given: Path | None) -> Path | None:
    if given is not None and str(given) in set(Form):
        raise CommandError(f"--output names a file; for {given} on standard output use -o {given}")
    return given


OutputFile = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FILE", callback=_refuse_form, help="The file to write; by default standard output."
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Show no progress and no last line.")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", show_default=False)]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of tasks.", show_default=False)]
Patience = Annotated[
    str, typer.Option("--patience", metavar="TIME", help="How long to wait for an unreachable server.")
]
CreatedAfter = Annotated[
    str | None, typer.Option("--created-after", metavar="TIME", help="Only tasks created after this RFC 3339 time.")
]
CreatedBefore = Annotated[
    str | None, typer.Option("--created-before", metavar="TIME", help="Only tasks created before this time.")
]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only tasks of the last 90s, 10m, 2h, 1d; or since a time."),
]


def created_after(after: str | None, since: str | None) -> str | None:
    """Return the time that `--created-after` or `--since` means, None if neither is given. Raises `CommandError`."""
    if since is None:
        return after
    if after is not None:
        raise CommandError("--since and --created-after mean the same; use one of them")
    try:
        moment = datetime.now(UTC) - timedelta(seconds=seconds("--since", since))
    except CommandError:
        moment = _time(since)
    except OverflowError:
        raise CommandError(f"--since {since}: that is too long ago") from None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _time(text: str) -> datetime:
    """Read a date or a time from the text of a flag.

    A time without a time zone is local time. Raises `CommandError`.
    """
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"--since {text}: must be like 90s, 10m, 2h, 1d, or 2026-11-25, 2026-11-25T18:00") from None


def examples(*lines: str) -> str:
    """Write the examples of a command's help, each on its own line."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])


def where(api: ApiClient) -> str:
    """Return the flags that select the same deployment and the same tenant in another command."""
    url = "" if api.where.url == DEFAULT_URL else f" --url {api.where.url}"
    return url if api.tenant is None else f"{url} --tenant {api.tenant}"


def connect(
    context: typer.Context,
    url: str | None,
    key: str | None,
    *,
    target: str | None = None,
    tenant: str | None = None,
) -> ApiClient:
    """Return a client of the deployment that `target` names, or that the flags name if `target` is None.

    Raises `CommandError`. A flag after the command's name counts before the same flag in front of it, and both count
    before the environment variable.
    """
    # an empty variable of a script gives an empty tenant name, and without a tenant name the server would act on the
    # key's own tenant
    if tenant == "":
        raise CommandError("--tenant: name a tenant, or leave the flag out for the key's own")
    where = place(target or _nearest(context, "url", url), _nearest(context, "key", key))
    is_typed = _is_typed(context, "key") or context.find_root().params.get("key") is not None
    if where.key is not None and is_typed:
        terminal.say("onceover: every user of this machine can see --key; prefer ONCEOVER_KEY")
    if where.key is not None and where.is_open:
        terminal.say(f"onceover: the key goes to {where.url} unencrypted; use https")
    return ApiClient(where, tenant=tenant)


def _nearest(context: typer.Context, name: str, own: str | None) -> str | None:
    above: str | None = context.find_root().params.get(name)
    return own if above is None or _is_typed(context, name) else above


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether a flag's value comes from the command line, and not from an environment variable."""
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
