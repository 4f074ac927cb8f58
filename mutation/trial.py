"""Runs checks in a copy of the project, in groups, each in a process of limited time."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from mutation import child
from mutation.checks import Check

# A process may use SLOWER_MOST times the processor time that its checks took without a mutant, plus SLACK_SECONDS.
SLOWER_MOST = 2.5
SLACK_SECONDS = 5.0
# How many times the bound of processor time the bound of real time is. Real time has a bound because a mutant may
# wait for ever, and a larger one because the machine may be busy.
WALL_FACTOR = 4.0
# Cheap checks share a process as long as their total time is at most this, so that their failures are reported soon.
GROUP_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of checks on a copy of the project.

    `killer` is the failed check, or '' if none failed. `seconds` is processor time.
    """

    killer: str = ""
    message: str = ""
    timed_out: bool = False
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return not self.killer


def run_groups(path: Path, checks: Iterable[tuple[Check, float]], *, quick: bool) -> Verdict:
    """Run checks in their order, up to the first failure, and return the verdict.

    Each check is given with the seconds that it takes without a mutant.
    """
    seconds = 0.0
    for group in grouped(checks):
        names = [check for check, _ in group]
        verdict = run(path, names, SLOWER_MOST * sum(cost for _, cost in group) + SLACK_SECONDS, quick=quick)
        seconds += verdict.seconds
        if not verdict.passed:
            return Verdict(verdict.killer, verdict.message, verdict.timed_out, seconds)
    return Verdict(seconds=seconds)


def grouped(checks: Iterable[tuple[Check, float]]) -> list[list[tuple[Check, float]]]:
    """Put consecutive checks of one kind into groups, each of which costs at most GROUP_SECONDS."""
    found: list[list[tuple[Check, float]]] = []
    for _, neighbours in groupby(checks, key=lambda one: one[0].is_part):
        group: list[tuple[Check, float]] = []
        for one in neighbours:
            group.append(one)
            if sum(cost for _, cost in group) > GROUP_SECONDS:
                found.append(group)
                group = []
        if group:
            found.append(group)
    return found


def run(path: Path, checks: Sequence[Check], processor_seconds: float, *, quick: bool, trace: bool = False) -> Verdict:
    """Run checks of one kind in one process, and return the verdict."""
    report = path / ".mutation-report.json"
    report.unlink(missing_ok=True)
    environment = os.environ | {
        child.REPORT: str(report),
        child.PROCESSOR_SECONDS: str(processor_seconds),
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": str(path),
    }
    environment |= {child.QUICK: "1"} if quick else {}
    environment |= {child.TRACE: "1"} if trace else {}
    process = subprocess.Popen(
        command(checks),
        cwd=path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        told, _ = process.communicate(timeout=WALL_FACTOR * processor_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # kill the process, and the processes that it started
        process.communicate()
        return Verdict(checks[0].name, "no end in sight", timed_out=True, seconds=processor_seconds)
    return _verdict(process.returncode, report, told, checks, processor_seconds)


def command(checks: Sequence[Check]) -> list[str]:
    """Return the command line that runs checks of one kind."""
    if checks[0].is_part:
        return [
            sys.executable,
            "-m",
            "mutation.simulation",
            *(check.name.removeprefix("simulate ") for check in checks),
        ]
    options = ["-q", "-x", "--no-header", "--tb=line", "-m", "not runtime", "-p", "mutation.pytest_plugin"]
    return [sys.executable, "-m", "pytest", *options, *(check.name for check in checks)]


def _verdict(status: int, report: Path, told: str, checks: Sequence[Check], processor_seconds: float) -> Verdict:
    facts = json.loads(report.read_text("utf-8")) if report.exists() else {}
    seconds = float(facts.get("seconds", processor_seconds))
    if status == 0:
        return Verdict(seconds=seconds, facts=facts)
    if status in {-signal.SIGXCPU, -signal.SIGKILL}:
        return Verdict(checks[0].name, f"over {processor_seconds:.0f} s", timed_out=True, seconds=processor_seconds)
    return Verdict(facts.get("failed") or checks[0].name, facts.get("message") or told[-300:], seconds=seconds)
