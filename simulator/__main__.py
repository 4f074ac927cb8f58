"""`python -m simulator`: run seeds, replay one, or run the whole campaign."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from simulator.campaign.runs.failure import explain
from simulator.campaign.runs.fault_rates import AWAY, DEAD, FULL, HANGING, LATE, OVERLOAD, PROFILES, WEBHOOKS
from simulator.campaign.runs.pool import run_seeds
from simulator.campaign.runs.run import run_seed
from simulator.campaign.runs.tally import CampaignTally
from simulator.engine.fault_kinds import KINDS, FaultKind
from simulator.figures import keep_figures
from simulator.options import positive

CONSOLE = Console(highlight=False, soft_wrap=True)
EXPLAINED_MOST = 3


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line requests. The exit status is 1 if an invariant broke or a check judged too little."""
    options = _parser().parse_args(arguments)
    if options.seed is not None:
        return _replay(options.seed, _kind(options))
    tally, seconds, processor = _seeds(options)
    CONSOLE.print(summary(tally, seconds, processor, options.workers))
    for seed, failure in sorted(tally.failures)[:EXPLAINED_MOST]:
        _explain(seed, failure, _kind(options))
    for name in tally.idle(options.faults):
        CONSOLE.print(f"judged too little: {name}. Run more schedules, or excuse less.")
    found = {name: tally.facts()[name] for name in ("schedules", "tasksAccepted", "modelCalls", "inDoubt", "d1Writes")}
    keep_figures(**found, faultsFired=tally.facts()["faultsFired"], broken=len(tally.failures))
    facts: dict[str, Any] = {"seeds": tally.facts() | {"seconds": round(seconds, 1)}}
    if options.campaign:
        facts |= _rest_of_campaign()
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    return 1 if tally.failures or tally.idle(options.faults) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description=__doc__,
        epilog=_faults(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=positive, default=2_000, help="how many schedules (default 2000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default 0)")
    parser.add_argument("--seed", type=int, help="replay this one seed and show what happens in it")
    parser.add_argument("--workers", type=positive, default=os.cpu_count() or 1, help="processes (default: one a core)")
    profiles = (*PROFILES, LATE, OVERLOAD, FULL, DEAD, AWAY, WEBHOOKS, HANGING)
    parser.add_argument("--faults", choices=profiles, help="one fault profile for all seeds")
    parser.add_argument("--terms", action="store_true", help="cancellations, deadlines and budgets in every schedule")
    parser.add_argument("--crowd", action="store_true", help="200 tasks of four tenants in every schedule")
    parser.add_argument("--forms", action="store_true", help="tasks with schemas and gaps in every schedule")
    parser.add_argument("--batches", action="store_true", help="files and batches in every schedule")
    parser.add_argument("--campaign", action="store_true", help="all parts, and their figures as JSON at the end")
    return parser


def _faults() -> str:
    """Return a text that lists the kinds of faults in the order of their numbers."""
    lines = (f"{kind.number:4}  {kind.name}: {kind.meaning}" for kind in _kinds())
    return "\n".join(("faults, which schedules draw:", *lines))


def _kinds() -> list[FaultKind]:
    return sorted(KINDS.values(), key=lambda kind: kind.number)


def _seeds(options: argparse.Namespace) -> tuple[CampaignTally, float, float]:
    started = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("schedules, {task.fields[accepted]:,} tasks, {task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=CONSOLE) as bar:
        job = bar.add_task("simulating", total=options.seeds, accepted=0, failed=0)

        def progress(total: CampaignTally, done: int) -> None:
            bar.update(job, advance=done, accepted=total.accepted, failed=len(total.failures))

        tally, processor = run_seeds(
            options.first,
            options.seeds,
            workers=options.workers,
            profile=options.faults,
            terms=options.terms,
            crowd=options.crowd,
            forms=options.forms,
            batches=options.batches,
            progress=progress,
        )
    return tally, time.perf_counter() - started, processor


def summary(tally: CampaignTally, seconds: float, processor: float, workers: int) -> Table:
    """Return a table with the injected faults, the figures of the runs, and the verdict."""
    table = Table(title="Faults injected", title_justify="left", show_footer=False)
    table.add_column("no.", justify="right")
    table.add_column("fault")
    table.add_column("fired", justify="right")
    for kind in _kinds():
        table.add_row(str(kind.number), f"{kind.name}: {kind.meaning}", f"{tally.fired[kind.name]:,}")
    table.add_section()
    statuses = ", ".join(f"{count:,} {name}" for name, count in tally.statuses.most_common() if count)
    for name, value in (
        ("schedules", f"{tally.schedules:,}"),
        ("tasks accepted", f"{tally.accepted:,} ({statuses})"),
        ("failed", ", ".join(f"{count:,} {name}" for name, count in tally.reasons.most_common())),
        ("answered", ", ".join(f"{count:,} {name}" for name, count in tally.told.most_common())),
        (
            "judged",
            ", ".join(
                f"{count:,} {name} in {tally.judging[name]:,} schedules" for name, count in tally.judged.most_common()
            ),
        ),
        ("simulated time", f"{tally.virtual_seconds / 3600:,.1f} h"),
        ("model calls", f"{tally.calls:,}, {tally.in_doubt:,} in doubt"),
        ("writes to D1, each checked", f"{tally.writes:,}"),
        (
            "time",
            f"{seconds:,.1f} s on {workers} workers, {tally.schedules / max(processor, 0.01):,.0f} schedules/s/core",
        ),
        ("verdict", tally.verdict()),
    ):
        table.add_row("", f"{name}: {value}", "")
    return table


class _Kind(NamedTuple):
    """The command line's options that choose the kind of schedule for a seed."""

    profile: str | None
    terms: bool
    crowd: bool
    forms: bool
    batches: bool

    @property
    def options(self) -> str:
        """Return the options as they are written on the command line."""
        faults = f" --faults {self.profile}" if self.profile else ""
        return (
            faults
            + (" --terms" if self.terms else "")
            + (" --crowd" if self.crowd else "")
            + (" --forms" if self.forms else "")
            + (" --batches" if self.batches else "")
        )


def _kind(options: argparse.Namespace) -> _Kind:
    return _Kind(options.faults, options.terms, options.crowd, options.forms, options.batches)


def _replay(seed: int, kind: _Kind) -> int:
    result = run_seed(seed, **kind._asdict())
    again = run_seed(seed, **kind._asdict(), keep_timeline=True)
    same = "the same twice" if result.digest == again.digest else "DIFFERENT the second time"
    CONSOLE.print(f"seed {seed}, profile {result.profile}: trace {result.digest}, {same}")
    if result.failure is None:
        CONSOLE.print(again.timeline, markup=False)
        CONSOLE.print(
            f"every invariant held: {dict(result.statuses)}, {result.calls} calls, {result.in_doubt} in doubt"
        )
        return 0
    _explain(seed, result.failure, kind)
    return 1


def _explain(seed: int, failure: str, kind: _Kind) -> None:
    explanation = explain(seed, **kind._asdict())
    if explanation is None:
        CONSOLE.print(f"\nseed {seed}: {failure}\nThis seed did not fail again when it was replayed.", markup=False)
        return
    result = explanation.result
    CONSOLE.print(f"\nseed {seed} ({result.profile}): {result.failure}", markup=False)
    CONSOLE.print(f"still so with {sum(result.fired.values())} of its {explanation.faults_before} faults:")
    CONSOLE.print("\n".join(explanation.lines()), markup=False)
    CONSOLE.print(f"replay: python -m simulator --seed {seed}{kind.options}")


def _rest_of_campaign() -> dict[str, Any]:
    from simulator.campaign import sections  # The ablations need features, which the kernel alone lacks.

    facts: dict[str, Any] = {}
    parts: dict[str, Callable[[], Any]] = {
        "singleCrashes": lambda: dict(sections.single_crashes()),
        "pairsOfCrashes": lambda: dict(sections.pairs_of_crashes()),
        "states": lambda: sections.states(2),
        "restores": lambda: sections.restores(100),
        "ablations": lambda: sections.ablations(10_000, 1_000, CONSOLE.print),
        "replays": lambda: sections.replays(50, 100),
        "schedulesPerSecondPerCore": lambda: round(sections.throughput(1_000)),
    }
    for name, run in parts.items():
        started = time.perf_counter()
        facts[name] = run()
        facts[f"{name}Seconds"] = round(time.perf_counter() - started, 1)
        CONSOLE.print(f"{name}: done in {facts[f'{name}Seconds']} s")
    return facts


if __name__ == "__main__":
    sys.exit(main())
