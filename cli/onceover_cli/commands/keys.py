"""The command `keys`: lists, makes and revokes a tenant's API keys, with an admin key of the same tenant."""

from typing import Annotated

import typer

from .. import terminal
from ..connection import ApiClient
from ..exits import Exit
from ..shapes import Json
from ..submission import seconds
from .flags import Form, Key, OutputForm, Url, connect, examples

app = typer.Typer(no_args_is_help=True, help="API keys; needs a key with the scope admin.", rich_markup_mode="rich")


Whose = Annotated[
    str | None,
    typer.Option(
        "--tenant",
        metavar="NAME",
        show_default=False,
        help="Another tenant, with an admin key of the tenant that OPERATOR_TENANT names.",
    ),
]


@app.command("list", epilog=examples("onceover keys list", "onceover keys list --tenant acme"))
def list_keys(
    context: typer.Context,
    form: OutputForm = Form.TEXT,
    tenant: Whose = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """List the keys, the oldest first. The secret parts of the keys are not shown."""
    with connect(context, url, key, tenant=tenant) as api:
        found = api.get("/api/keys")
    _say_if_unchecked(api)
    if form is Form.JSON:
        terminal.write_json(found)
        return
    rows = [
        [one["id"], ",".join(one["scopes"]), one["label"] or "", one["createdAt"], one["expiresAt"] or "never"]
        for one in found["keys"]
    ]
    terminal.write_table(["ID", "SCOPES", "LABEL", "CREATED", "EXPIRES"], rows)


@app.command(epilog=examples("onceover keys make --label nightly --scopes read,write --expires-in 90d"))
def make(
    context: typer.Context,
    label: Annotated[str | None, typer.Option("--label", help="The key's purpose.")] = None,
    scopes: Annotated[
        str, typer.Option("--scopes", help="Any of read, write, admin; none implies another.")
    ] = "read,write",
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="TIME", help="Like 90d; by default never.")
    ] = None,
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Make a key. It is shown only once."""
    body: Json = {"scopes": [scope.strip() for scope in scopes.split(",") if scope.strip()]}
    if label is not None:
        body["label"] = label
    if expires_in is not None:
        body["expiresInSeconds"] = round(seconds("--expires-in", expires_in))
    with connect(context, url, key) as api:
        made = api.ask("POST", "/api/keys", body=body)
    if form is Form.JSON:
        terminal.write_json(made)
    else:
        terminal.write(f"{made['key']}\n")
    terminal.say(f"Key {made['id']} ({', '.join(made['scopes'])}). It is shown only once; save it now.")
    _say_if_unchecked(api)


@app.command(
    epilog=examples("onceover keys revoke 0123456789abcdef", "onceover keys revoke 0123456789abcdef --tenant acme")
)
def revoke(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, not the key.", show_default=False)],
    form: OutputForm = Form.TEXT,
    tenant: Whose = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Revoke a key. A revoked key is refused everywhere within a minute."""
    if key_id.startswith("oo_"):
        terminal.say("error: name the key's id (`onceover keys list`), not the key itself")
        raise typer.Exit(Exit.COULD_NOT_RUN)
    with connect(context, url, key, tenant=tenant) as api:
        api.ask("DELETE", f"/api/keys/{key_id}")
    if form is Form.JSON:
        terminal.write_json({"revoked": key_id})
    terminal.say(f"Key {key_id} is revoked.")


def _say_if_unchecked(api: ApiClient) -> None:
    """Say that the server checks no keys, as a request without a key was just answered."""
    if api.where.key is None:
        terminal.say("This server checks no keys (REQUIRE_KEYS is false): each client is the tenant local.")
