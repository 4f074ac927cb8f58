"""The command `verify`: examines a deployment from outside, and reports what was seen to work."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__, terminal
from ..connection import ApiClient
from ..errors import CommandError, ServerRefused
from ..shapes import Json
from ..verify.checks import checks, cleaned, run
from ..verify.findings import NAME, Finding, Grade, as_markdown, write
from ..verify.trial import Trial
from .flags import Key, Url, connect, examples

COULD_NOT_RUN = 2


def verify(
    context: typer.Context,
    calls: Annotated[int, typer.Option("--calls", min=1, help="The most model calls to pay for.")] = 60,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the report to FILE.md and FILE.json.")
    ] = None,
    receiver: Annotated[
        str | None, typer.Option("--receiver", metavar="URL", help="Send webhooks there; verify listens at 127.0.0.1.")
    ] = None,
    url: Url = None,
    key: Key = None,
) -> None:
    """Examine a deployment from outside, within ten minutes. Exit status: 0 sound, 1 a fault, 2 could not run."""
    began = datetime.now(UTC)
    try:
        with connect(context, url, key) as api:
            facts, findings = _examined(Trial(api, calls), _status(api), receiver)
    except CommandError as error:
        terminal.say(f"error: {error}")
        raise typer.Exit(COULD_NOT_RUN) from None
    facts = {"cli": __version__, "began": began.isoformat(timespec="seconds"), **facts}
    if report is None:
        terminal.write(as_markdown(facts, findings))
    else:
        write(report, facts, findings)
    raise typer.Exit(int(any(one.verdict is Grade.FAULT for one in findings)))


def _status(api: ApiClient) -> Json:
    """Read the operators' view of the status. Raises CommandError if the key lacks a scope, or nothing answers."""
    try:
        status = api.get("/api/async-status", {"verbose": "1"})
    except ServerRefused as refused:
        if refused.problem.get("status") == "unhealthy":
            return refused.problem
        raise
    api.get("/api/tasks", {"limit": "1"})
    api.ask("POST", "/api/tasks", params={"dryRun": "true"}, body={"input": NAME})
    if "backlog" not in status:
        raise CommandError("verify needs ONCEOVER_KEY: a key of OPERATOR_TENANT with read, write and admin")
    return status


def _examined(trial: Trial, status: Json, receiver: str | None) -> tuple[Json, list[Finding]]:
    """Run all checks, and remove what they made, even if they are interrupted."""
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        findings.append(finding)
        terminal.say(f"  {finding.verdict}: {finding.saw}. {finding.means} ({finding.seconds:.1f} s)")

    if status["status"] == "unhealthy":
        note(Finding("database", Grade.FAULT, "read the status", status["detail"], "It can accept no task."))
        return {"service": status["service"]}, findings
    terminal.say(f"Removed {trial.clean(earlier=True)} things that earlier runs left.")
    try:
        for check in checks(status, receiver):
            terminal.say(f"{check[0]}: {check[1]} …")
            note(run(trial, check))
    finally:
        note(run(trial, ("cleaning and sums", f"removed what is named {NAME}, and compared bills and sums", cleaned)))
    facts = {name: status[name] for name in ("service", "architecture", "version")}
    facts |= {"schema": status["schema"]["applied"], "model": trial.model, "requests": trial.requests}
    return facts | {"model calls": trial.calls, "seconds": round(trial.clock() - trial.began)}, findings


def register(app: typer.Typer) -> None:
    """Add the command."""
    epilog = examples("onceover verify --url https://onceover.NAME.workers.dev --report verify")
    app.command(rich_help_panel="Operation", epilog=epilog)(verify)
