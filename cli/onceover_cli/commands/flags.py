"""The flags that commands share, each written once."""

from enum import StrEnum
from typing import Annotated

import typer

from .. import terminal
from ..connection import Api, place


class Form(StrEnum):
    """How what a command gives is written."""

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
        help="An API key. Others can see what stands on a command line (`ps`): prefer the variable.",
    ),
]
Output = Annotated[
    Form, typer.Option("-o", "--output", help="`json`: one JSON document on standard output, of a stable shape.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No progress, and no last line.")]
TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id.", show_default=False)]
TaskIds = Annotated[list[str], typer.Argument(metavar="ID…", help="Ids of tasks.", show_default=False)]
Patience = Annotated[
    str, typer.Option("--patience", metavar="TIME", help="How long a server may be away before this gives up.")
]
CreatedAfter = Annotated[
    str | None, typer.Option("--created-after", metavar="TIME", help="Only tasks created after this RFC 3339 time.")
]
CreatedBefore = Annotated[
    str | None, typer.Option("--created-before", metavar="TIME", help="Only tasks created before this time.")
]


def examples(*lines: str) -> str:
    """Write the examples of a command's help, a line each."""
    return "\n\n".join(["[bold]Examples[/bold]", *(f"  {line}" for line in lines)])


def connect(context: typer.Context, url: str | None, key: str | None) -> Api:
    """Return a client of the deployment that is meant. Raises `CommandError`."""
    where = place(url, key)
    source = context.get_parameter_source("key")
    if where.key is not None and source is not None and source.name == "COMMANDLINE":
        terminal.say("onceover: --key can be seen by everybody on this machine; ONCEOVER_KEY cannot")
    if where.key is not None and where.is_open:
        terminal.say(f"onceover: the key goes to {where.url} in the clear; use https")
    return Api(where)
