"""`python -m mutation` draws mutants, judges them, and reports the results."""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mutation import options, report
from mutation.baseline import Baseline, Known, measure
from mutation.catalogue import all_mutants, drawn
from mutation.checks import Check, all_checks
from mutation.journal import SURVIVED, Journal, Outcome
from mutation.mutants import Mutant, difference
from mutation.run import Judge, Suite, viable, workspaces
from mutation.statements import Found
from mutation.workspace import Workspace, digest
from simulator.figures import keep_figures

ROOT = Path(__file__).resolve().parents[1]
STATE = ROOT / ".build" / "mutation"
CONSOLE = Console(highlight=False, soft_wrap=True)
LINE_SECONDS = 30.0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line, and return the exit status.

    The exit status is 1 if fewer mutants were killed than required, and 2 if no mutant could be judged.
    """
    asked = options.read(arguments)
    mutants = all_mutants(ROOT)
    if asked.mutant:
        return _named(asked, mutants)
    chosen = viable(ROOT, drawn(mutants, asked.seed, asked.only), asked.mutants)
    CONSOLE.print(f"{len(mutants):,} mutants in all, {len(chosen)} drawn by seed {asked.seed}")
    if asked.list:
        for found in chosen:
            CONSOLE.print(f"{found.mutant.id} {found.mutant.where} {found.mutant.summary}", markup=False)
    if asked.list or not chosen:
        return 0 if chosen else 2
    return _judge(asked, chosen)


def _named(asked: argparse.Namespace, mutants: list[Mutant]) -> int:
    """Show the named mutants, and leave a copy of the tree with each; with the option for it, judge them too."""
    named = [mutant for mutant in mutants if mutant.id in asked.mutant]
    chosen = viable(ROOT, named, len(named))
    missing = set(asked.mutant) - {found.mutant.id for found in chosen}
    if missing:
        CONSOLE.print(f"this tree has no mutants {', '.join(sorted(missing))}")
        return 2
    for found in chosen:
        mutant, place = found.mutant, STATE / f"mutant-{found.mutant.id}"
        shutil.rmtree(place, ignore_errors=True)
        Workspace(ROOT, place).put(mutant)
        CONSOLE.print(f"{mutant.id} {mutant.where} {mutant.scope}: {mutant.operator}", markup=False)
        CONSOLE.print(difference(mutant, (ROOT / mutant.path).read_text("utf-8")), markup=False)
        CONSOLE.print(f"A copy of the tree with it is in {os.path.relpath(place)}\n")
    return _judge(asked, chosen) if asked.judge else 0


def _judge(asked: argparse.Namespace, chosen: list[Found]) -> int:
    """Judge mutants, and print the results."""
    started = time.monotonic()
    journal = Journal(STATE / "outcomes.jsonl")
    if asked.fresh:
        journal.forget()
    with workspaces(ROOT, asked.workers) as copies:
        judge = Judge(_baseline(copies, deep=asked.deep), journal, copies)
        _run(judge, chosen, "quick")
        if asked.deep:
            _run(judge, [found for found in chosen if _has_survived(judge.known(found, "quick"))], "deep")
    about = {
        "commit": _commit(),
        "seed": asked.seed,
        "only": asked.only,
        "deep": asked.deep,
        "machine": {"python": platform.python_version(), "cores": os.cpu_count()},
        "seconds": round(time.monotonic() - started, 1),
    }
    judged = [
        report.Judged(one.mutant, judge.known(one, "quick"), judge.known(one, "deep") if asked.deep else None)
        for one in chosen
    ]
    told = report.facts(judged, report.reasons(), about)
    path = asked.report or STATE / "report.json"
    report.write(path, told)
    report.show(CONSOLE, told)
    keep_figures(**told["all"])
    CONSOLE.print(f"Written to {os.path.relpath(path)}")
    return 1 if asked.least is not None and 100 * told["all"]["killRate"] < asked.least else 0


def _has_survived(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.verdict == SURVIVED


def _baseline(copies: list[Workspace], *, deep: bool) -> Baseline:
    """Measure the checks, and print those that fail without a mutant, since these cannot judge mutants."""
    checks = all_checks(ROOT, deep=deep)
    with _bar("checks without a mutant", len(checks)) as advance:

        def progress(check: Check) -> None:
            advance("")

        baseline = measure(checks, copies, digest(ROOT), Known(STATE / "checks.json"), progress)
    for check, failure in baseline.failing.items():
        CONSOLE.print(f"left out, since it fails without a mutant: {check.name}: {failure}", markup=False)
    return baseline


def _run(judge: Judge, chosen: list[Found], suite: Suite) -> None:
    if not chosen:
        return
    verdicts: Counter[str] = Counter()
    with _bar(f"mutants, {suite} suite", len(chosen)) as advance:

        def progress(outcome: Outcome) -> None:
            verdicts[outcome.verdict] += 1
            advance(", ".join(f"{count} {name}" for name, count in sorted(verdicts.items())))

        judge.judge(chosen, suite, progress)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[str], Any]]:
    """Show a progress bar and an estimate of the time left, and yield a function that advances the bar."""
    if not CONSOLE.is_terminal:
        yield _lines(what, total)
        return
    columns = (
        TextColumn(what),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=CONSOLE, speed_estimate_period=600) as bar:
        job = bar.add_task(what, total=total, told="")
        yield lambda told: bar.update(job, advance=1, told=told)


def _lines(what: str, total: int) -> Callable[[str], None]:
    """Return a function that prints the progress for a file or a pipe: one line each half minute, and a last one."""
    started = said = time.monotonic()
    done = 0

    def advance(told: str) -> None:
        nonlocal done, said
        done, now = done + 1, time.monotonic()
        if done == total or now >= said + LINE_SECONDS:
            said = now
            left = (now - started) / done * (total - done)
            CONSOLE.print(f"{what}: {done} of {total}, {told or 'done'}, about {left:.0f} s left", markup=False)

    return advance


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
