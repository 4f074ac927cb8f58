"""The command `batch`: upload a file of requests, follow the batch, and write its answers as they come."""

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from .. import terminal
from ..batch_following import BatchFollowing, LineSink, write_errors
from ..batches import ENDED, Start, metadata_of, read_input, task_id_of
from ..connection import ApiClient
from ..errors import CommandError, ServerRefused
from ..exits import Exit, exit_of_batch
from ..interruption import Interrupts, explained
from ..progress import TaskDisplay, last_line_of_batch
from ..shapes import Json, many
from ..submission import seconds
from .flags import Form, Key, OutputFile, OutputForm, Patience, Quiet, Tenant, Url, connect, examples, where

_ENDPOINTS = {"chat": "/v1/chat/completions", "responses": "/v1/responses"}

Source = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE|-", help="The requests, one JSON object a line; - reads standard input.", show_default=False
    ),
]
ErrorFile = Annotated[
    Path | None,
    typer.Option(
        "--errors", metavar="FILE", help="Where failed requests go; by default beside --output, as NAME.errors.jsonl."
    ),
]
EndpointFlag = Annotated[
    str, typer.Option("--endpoint", metavar="NAME", help="`chat`, `responses`, or the path that the lines name.")
]
Window = Annotated[str, typer.Option("--window", metavar="TIME", help="The batch expires after 1h to 168h.")]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="Kept with the batch; up to 16.")
]
MaxCalls = Annotated[int | None, typer.Option("--max-calls", min=1, help="The most model calls.")]
MaxCost = Annotated[str | None, typer.Option("--max-cost", metavar="DOLLARS", help="The most that the calls may cost.")]
BatchId = Annotated[
    str | None, typer.Option("--id", metavar="BATCH", help="Go on with this batch, without a FILE.", show_default=False)
]
New = Annotated[bool, typer.Option("--new", help="Start another batch, although there is one over the same lines.")]


def batch(
    context: typer.Context,
    source: Source = None,
    output: OutputFile = None,
    errors: ErrorFile = None,
    endpoint: EndpointFlag = "chat",
    window: Window = "24h",
    metadata: Metadata = None,
    max_calls: MaxCalls = None,
    max_cost: MaxCost = None,
    batch_id: BatchId = None,
    new: New = False,
    quiet: Quiet = False,
    patience: Patience = "10m",
    form: OutputForm = Form.TEXT,
    tenant: Tenant = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Run a file of requests as a batch, show progress, and write the answers as they come.

    The same command again goes on with the same batch, also with its --output.
    """
    if (source is None) == (batch_id is None):
        raise CommandError("name a FILE of requests, or the --id of a batch, but not both")
    limit = seconds("--patience", patience)
    fields: Json = {"endpoint": _ENDPOINTS.get(endpoint, endpoint), "completion_window": window}
    if metadata:
        fields["metadata"] = metadata_of(metadata)
    budget = {"maxModelCalls": max_calls, "maxCost": max_cost}
    if own := {name: value for name, value in budget.items() if value is not None}:
        fields["onceover"] = own
    with connect(context, url, key, tenant=tenant) as api:
        if source is None:
            made = api.get(f"/v1/batches/{batch_id}")
        else:
            made = _start(api, source, fields, is_new=new, is_quiet=quiet, patience_seconds=limit)
        with LineSink(output, to_standard_output=form is Form.TEXT) as sink:
            follows = _Follows(api, made, sink, quiet, limit, form, errors or _beside(output))
            status = _follow(follows)
    raise typer.Exit(status)


def _start(api: ApiClient, source: str, fields: Json, *, is_new: bool, is_quiet: bool, patience_seconds: float) -> Json:
    """Upload the lines and start the batch, or find the file and the batch of an earlier command.

    A first Ctrl-C waits for the server's answer, because only the answer has the batch's id.
    """
    given, interrupts = read_input(source), Interrupts()
    first = (
        "waiting for the answer, which has the batch's id. Ctrl-C again leaves at once. An accepted batch then runs "
        "on; the same command finds it"
    )
    with interrupts.held(first):
        made, was_there = Start(api, terminal.say, patience_seconds).find_or_make(given, fields, is_new=is_new)
    if not is_quiet:
        terminal.say(f"{'Going on with' if was_there else 'Started'} {made['id']}: {many(len(given.content), 'byte')}")
        if made["status"] in ENDED:
            terminal.say("It had already ended. --new starts another batch over the same lines.")
    if interrupts.is_interrupted:
        _say_goodbye(api, made)
        raise typer.Exit(Exit.INTERRUPTED)
    return made


class _Follows(NamedTuple):
    """The arguments of a command that follows a batch."""

    api: ApiClient
    made: Json
    sink: LineSink
    is_quiet: bool
    patience_seconds: float
    form: Form
    errors: Path | None


def _follow(asked: _Follows) -> Exit:
    """Follow a batch to its end, and report it. Returns the exit status."""
    api, made = asked.api, asked.made
    go_on = f"onceover batch --id {made['id']}{where(api)}"
    second = f"leaving at once. The batch runs on; go on: {go_on}"
    try:
        with explained(second), TaskDisplay(streams=False, is_quiet=asked.is_quiet) as display:
            following = BatchFollowing(api, made, asked.sink, display, patience_seconds=asked.patience_seconds)
            ended = following.to_the_end()
            if ended["error_file_id"] is not None and asked.errors is not None:
                write_errors(api, ended["error_file_id"], asked.errors)
    except KeyboardInterrupt:
        _say_goodbye(api, made)
        return Exit.INTERRUPTED
    except terminal.OutputClosed:
        if not asked.is_quiet:
            _say_goodbye(api, made)
        return Exit.COMPLETED
    except CommandError as error:
        if not (isinstance(error, ServerRefused) and error.status in {401, 403, 404}):
            terminal.say(f"The batch runs on without this command. Go on: {go_on}")
        raise
    if asked.form is Form.JSON:
        terminal.write_json(ended)
    if not asked.is_quiet:
        _report(ended, asked.errors)
    return exit_of_batch(ended)


def _report(ended: Json, errors: Path | None) -> None:
    """Say how a batch ended, and what was wrong with its lines."""
    for fault in (ended["errors"] or {}).get("data", ()):
        line = "" if fault["line"] is None else f"line {fault['line']}: "
        terminal.say(f"{line}{fault['message']} ({fault['code']})")
    if ended["error_file_id"] is not None:
        terminal.say(f"The failed requests are in {ended['error_file_id'] if errors is None else errors}.")
    terminal.say(last_line_of_batch(ended))


def _beside(output: Path | None) -> Path | None:
    return None if output is None else output.with_name(f"{output.name.removesuffix('.jsonl')}.errors.jsonl")


def _say_goodbye(api: ApiClient, made: Json) -> None:
    also = where(api)
    terminal.say(f"\nThe batch runs on, and its calls are billed. Stop it: onceover cancel {task_id_of(made)}{also}")
    terminal.say(f"Go on: onceover batch --id {made['id']}{also}, with the same --output")


def register(app: typer.Typer) -> None:
    """Add the command `batch` to the program."""
    app.command(
        epilog=examples(
            "onceover batch requests.jsonl --output answers.jsonl",
            "onceover batch requests.jsonl | jq -r .response.body.choices[0].message.content",
            "onceover batch requests.jsonl --endpoint responses --window 48h --max-calls 25000",
            "onceover batch --id batch_01a210727b6e7d39a6a35f4ad5d0a2a1 --output answers.jsonl",
        )
    )(batch)
