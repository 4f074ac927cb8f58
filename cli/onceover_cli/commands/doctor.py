"""The command `doctor`: checks a deployment, `make dev` or a folder, and says what to repair."""

import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from .. import terminal
from ..doctor import account, deployment, folder
from ..doctor.files import probe
from ..doctor.findings import Check, Level, is_sound
from ..doctor.trial import trial
from ..exits import Exit
from ..shapes import Json, many
from .flags import Form, Key, OutputForm, Url, connect, examples

_MARKS = {Level.OK: "ok", Level.NOTE: "note", Level.SKIPPED: "skipped", Level.WARNING: "WARNING", Level.FAULT: "FAULT"}


def doctor(
    context: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(metavar="[URL|FOLDER]", help="What to check; by default ONCEOVER_URL.", show_default=False),
    ] = None,
    env: Annotated[
        str | None,
        typer.Option("--env", help="The expected environment: free, direct, or '' for the top level."),
    ] = None,
    task: Annotated[bool, typer.Option("--task", help="Also run a small task: one model call.")] = False,
    deployed: Annotated[
        bool,
        typer.Option("--deployed", help="Right after a deployment: report only what that can break as a fault."),
    ] = False,
    ask_account: Annotated[
        bool, typer.Option("--account", help="With a folder: also ask wrangler about the account.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False,
    form: OutputForm = Form.TEXT,
    url: Url = None,
    key: Key = None,
) -> None:
    """Check a deployment, `make dev` or a folder, and say what to do. The exit status is 1 if there is a fault."""
    found: list[Check] = []
    is_json = as_json or form is Form.JSON
    where, checks = _checks(context, target, env, url, key, task=task, ask_account=ask_account)
    for check in map(deployment.as_deployed, checks) if deployed else checks:
        found.append(check)
        if not is_json:
            _show(check)
    sound = is_sound(found)
    if is_json:
        terminal.write_json(report(where, found))
    else:
        counts = {level: sum(check.level is level for check in found) for level in (Level.FAULT, Level.WARNING)}
        parts = (many(len(found), "check"), many(counts[Level.FAULT], "fault"), many(counts[Level.WARNING], "warning"))
        terminal.say(f"{where}: {', '.join(parts)}.")
    if not sound:
        raise typer.Exit(Exit.COULD_NOT_RUN)


def report(where: str, found: Iterable[Check]) -> Json:
    """Make the JSON document that `onceover doctor --json` prints."""
    checks = list(found)
    return {"target": where, "ok": is_sound(checks), "checks": [check.view() for check in checks]}


def _checks(
    context: typer.Context,
    target: str | None,
    env: str | None,
    url: str | None,
    key: str | None,
    *,
    task: bool,
    ask_account: bool,
) -> tuple[str, Iterator[Check]]:
    """Return the name of the checked deployment or folder, and the checks, which run when they are iterated over."""
    if target is not None and "://" not in target and (Path(target).exists() or os.sep in target):
        path = Path(target)
        return str(path), _of_folder(path, env, ask_account=ask_account)
    api = connect(context, url, key, target=target)

    def look() -> Iterator[Check]:
        with api:
            is_up = True
            for check in deployment.examine(api, env, datetime.now(UTC)):
                is_up = is_up and not (
                    check.id in {"reach", "configuration", "database"} and check.level is Level.FAULT
                )
                yield check
            if task and is_up:
                yield trial(api)
                yield from probe(api)

    return api.where.url, look()


def _of_folder(path: Path, env: str | None, *, ask_account: bool) -> Iterator[Check]:
    yield from folder.examine(path, env)
    if ask_account:
        yield from account.examine(path, env, account.wrangler_in(path))


def _show(check: Check) -> None:
    """Print a check: one line with its result, and if something needs repair a second line with the repair."""
    is_colourful = terminal.is_terminal(sys.stdout) and not os.environ.get("NO_COLOR")
    colour = {Level.FAULT: 31, Level.WARNING: 33, Level.OK: 32}.get(check.level)
    mark = f"{_MARKS[check.level]:<8}"
    lines = [f"{mark}{check.id}: {terminal.harmless(check.evidence)}"]
    if check.fix:
        lines.append(f"{'':<8}fix: {check.fix}")
    if is_colourful and colour is not None:
        lines[0] = f"\x1b[{colour}m{mark}\x1b[0m{lines[0][len(mark) :]}"
    terminal.write_plain("\n".join(lines) + "\n")


def register(app: typer.Typer) -> None:
    """Add the command `doctor` to the program."""
    app.command(
        epilog=examples(
            "onceover doctor",
            "onceover doctor https://onceover.NAME.workers.dev --env free --task",
            "onceover doctor https://onceover.NAME.workers.dev --deployed",
            "onceover doctor . --account",
            "onceover doctor --json | jq '.checks[] | select(.level == \"fault\")'",
        )
    )(doctor)
