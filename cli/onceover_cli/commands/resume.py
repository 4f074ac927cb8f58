"""The command `resume`: lets tasks that wait for a model go on now."""

import typer

from .. import terminal
from ..shapes import Json, many
from .flags import Form, Key, OutputForm, Url, connect, examples


def resume(context: typer.Context, form: OutputForm = Form.TEXT, url: Url = None, key: Key = None) -> None:
    """Let tasks that wait for a model that is away go on now, with an operator's key.

    Each model is called once. If it answers, its tasks go on; a pause for which the provider asked is kept.
    """
    with connect(context, url, key) as api:
        done = api.ask("POST", "/api/sweep", body={"resume": True})
    if form is Form.JSON:
        terminal.write_json(done)
    else:
        terminal.write("".join(f"{line}\n" for line in _lines(done)))


def _lines(done: Json) -> list[str]:
    if not done["probed"]:
        return ["no task waits for a model that is away"]
    said = {True: "answers: its tasks go on", False: "still fails: its tasks wait on", None: "has not answered yet"}
    lines = [f"{one['model']} {said[one['answered']]}" for one in done["probed"]]
    return [*lines, f"{many(done['resumed'], 'pause')} ended"]


def register(app: typer.Typer) -> None:
    """Add the command `resume` to the program."""
    app.command(epilog=examples("onceover resume", "onceover resume -o json | jq .resumed"))(resume)
