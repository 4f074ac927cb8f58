"""Runs wrangler on the account, and finds the fix for a failure in wrangler's output."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Protocol

from ..node import ROOT, wrangler
from .fixes import Fix, fix_for

_ENVIRONMENT = {"WRANGLER_SEND_METRICS": "false", "NO_COLOR": "1", "FORCE_COLOR": "0"}
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Matches useless lines of wrangler's errors: its banner, its log file, offers that do not fit a deployment.
_NOISE = re.compile(r"^(?: ⛅️ wrangler|─+$|🪵|Resource location:|\s*To continue without logging in)", re.ASCII)
# Matches lines that are not printed while wrangler runs: useless lines and two tables (of the upload's 325 modules, and
# of all migrations after each one). A table of wrangler's with one column is printed, and so is the row of a failed
# migration.
_UNSEEN = re.compile(rf"{_NOISE.pattern}|^[┌├└]|^🌀 (?:Executing|To execute)|^│(?!.*❌).*│.*│$")
_SAID_MOST = 2_000


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a wrangler call: its exit status, its standard output, and all its output."""

    status: int
    out: str
    said: str


class Cloud(Protocol):
    """The function that runs wrangler. Tests use a stand-in, which keeps an account's state."""

    def __call__(self, *arguments: str, told: str | None = None, is_shown: bool = False) -> CommandResult:
        """Run one command of wrangler.

        `told` is the text for wrangler's standard input. With `is_shown` wrangler's output is printed while wrangler
        runs.
        """


class StepFailed(Exception):
    """Raised when a step cannot be done. `fix` says what the user can do about the failed step."""

    def __init__(self, what: str, fix: Fix) -> None:
        super().__init__(what)
        self.fix = fix


def run(*arguments: str, told: str | None = None, is_shown: bool = False) -> CommandResult:
    """Run the wrangler that npm installed.

    wrangler never runs interactively here, so it asks nothing and rewrites no file.

    Raises `NodeMissing`.
    """
    with subprocess.Popen(
        wrangler(*arguments),
        cwd=ROOT,
        env={**os.environ, **_ENVIRONMENT},
        stdin=subprocess.DEVNULL if told is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if is_shown else subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        if not is_shown:
            out, errors = process.communicate(told)
            return CommandResult(process.returncode, plain(out), plain(f"{out}\n{errors}"))
        lines = []
        for line in process.stdout or ():
            lines.append(plain(line))
            if line.strip() and not _UNSEEN.search(lines[-1]):
                print(f"    {lines[-1].rstrip()}", flush=True)
        said = "".join(lines)
        return CommandResult(process.wait(), said, said)


def plain(text: str) -> str:
    """Return a text without the colours that wrangler's errors have in spite of all settings."""
    return _COLOUR.sub("", text)


def told_by(said: str) -> str:
    """Return the text of wrangler's error without useless lines."""
    lines = [line.rstrip() for line in said.splitlines() if not _NOISE.match(line)]
    return re.sub(r"\n{2,}", "\n", "\n".join(lines)).strip()[-_SAID_MOST:]


def need(answer: CommandResult, doing: str) -> CommandResult:
    """Return the result of a wrangler call that succeeded. Raises `StepFailed`, with the fix, if the call failed."""
    if answer.status == 0:
        return answer
    raise StepFailed(f"{doing} failed. wrangler said:\n{told_by(answer.said)}", fix_for(answer.said))


def report(failed: StepFailed) -> None:
    """Print what failed and what to do, in the same form as docs/runbook.md."""
    sys.stdout.flush()
    print(f"error: {failed}", file=sys.stderr)
    print(f"fix ({failed.fix.id}): {failed.fix.text}", file=sys.stderr)
