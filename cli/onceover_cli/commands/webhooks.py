"""The command `webhooks`: manages the endpoints that get a message when a task ends."""

from typing import Annotated

import typer

from .. import terminal
from ..exits import Exit
from ..shapes import Json, many
from .flags import Form, Key, OutputForm, Url, connect, examples

_PATH = "/v1/webhook_endpoints"
_EVENTS = "task.completed,task.failed,task.cancelled"

app = typer.Typer(
    no_args_is_help=True, help="Webhook endpoints; needs a key with the scope admin.", rich_markup_mode="rich"
)
EndpointId = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.", show_default=False)]


@app.command("list", epilog=examples("onceover webhooks list"))
def list_endpoints(context: typer.Context, form: OutputForm = Form.TEXT, url: Url = None, key: Key = None) -> None:
    """List the endpoints."""
    with connect(context, url, key) as api:
        found: list[Json] = api.get(_PATH).get("data", [])
    if form is Form.JSON:
        terminal.write_json({"endpoints": found})
        return
    rows = [[one["id"], one["name"], one["url"], ",".join(one["event_types"]), status_of(one)] for one in found]
    terminal.write_table(["ID", "NAME", "URL", "EVENTS", "STATUS"], rows)


def status_of(endpoint: Json) -> str:
    """Return what an endpoint's table shows as its status: whether it is enabled, and how its last attempts failed."""
    failed = endpoint.get("failed_attempts", 0)
    status = endpoint.get("status", "enabled")
    return f"{status}, last {many(failed, 'attempt')} failed: {endpoint['last_failure']}" if failed else str(status)


@app.command(
    epilog=examples(
        "onceover webhooks add nightly https://hooks.example.com/onceover",
        "onceover webhooks add openai https://hooks.example.com/r --events response.completed,response.failed",
    )
)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The endpoint's name.", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="URL", help="An https URL on port 443.", show_default=False)],
    events: Annotated[str, typer.Option("--events", help="Separated by commas.")] = _EVENTS,
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Register an endpoint, and print its signing secret."""
    types = [event.strip() for event in events.split(",") if event.strip()]
    with connect(context, url, key) as api:
        made = api.ask("POST", _PATH, body={"name": name, "url": target, "event_types": types})
    _show_secret(made, form)


@app.command("test", epilog=examples("onceover webhooks test we_093e8dd2cc0188c14aaf9a12"))
def try_out(
    context: typer.Context, endpoint_id: EndpointId, form: OutputForm = Form.TEXT, url: Url = None, key: Key = None
) -> None:
    """Send a test event to an endpoint and show its answer. The exit status is 1 unless the endpoint answered 2xx."""
    with connect(context, url, key) as api:
        answer = api.ask("POST", f"{_PATH}/{endpoint_id}/test")
    event, status = answer.get("event_type", "the message"), int(answer["status_code"])
    # The endpoint's HTTP status decides whether a test of a webhook endpoint succeeded, because older servers reported
    # success for every answer of an endpoint.
    is_taken = 200 <= status < 300
    if form is Form.JSON:
        terminal.write_json({"id": endpoint_id, "answer": answer})
    elif is_taken:
        terminal.write(f"The endpoint accepted {event} with {status}\n")
    if not is_taken:
        terminal.say(f"error: the endpoint answered {status} to {event}; only 2xx accepts it")
        raise typer.Exit(Exit.COULD_NOT_RUN)


@app.command(epilog=examples("onceover webhooks remove we_093e8dd2cc0188c14aaf9a12"))
def remove(
    context: typer.Context, endpoint_id: EndpointId, form: OutputForm = Form.TEXT, url: Url = None, key: Key = None
) -> None:
    """Remove an endpoint. No further message is delivered to a deleted endpoint."""
    with connect(context, url, key) as api:
        api.ask("DELETE", f"{_PATH}/{endpoint_id}")
    if form is Form.JSON:
        terminal.write_json({"removed": endpoint_id})
    terminal.say(f"Endpoint {endpoint_id} is removed.")


@app.command(epilog=examples("onceover webhooks rotate we_093e8dd2cc0188c14aaf9a12 --keep-old"))
def rotate(
    context: typer.Context,
    endpoint_id: EndpointId,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="The old secret also signs for 24 hours.")] = False,
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Give an endpoint a new signing secret, and print it."""
    body = {"keep_old_secret_active_for_24_hours": keep_old}
    with connect(context, url, key) as api:
        made = api.ask("POST", f"{_PATH}/{endpoint_id}/rotate_secret", body=body)
    _show_secret(made, form)


def _show_secret(made: Json, form: Form) -> None:
    """Print a webhook endpoint's new signing secret, which cannot be read again later."""
    secret = made.get("signing_secret", "")
    if form is Form.JSON:
        terminal.write_json(made)
    else:
        terminal.write(f"{secret}\n")
    terminal.say(
        f"Endpoint {made.get('id', '')}. Its signing secret is shown only once; save it now, where the receiver runs."
    )
