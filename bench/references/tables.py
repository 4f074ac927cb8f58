"""Prints the figures as tables for people."""

from rich.console import Console
from rich.table import Table

from bench.references.outcome import Outcome, Spread, Verdict, spread
from bench.references.works import MORE_IS_BETTER, Work


def show(outcomes: list[Outcome], console: Console) -> None:
    """Print the measurements and the goals, and samples in which the model did not serve each chunk exactly once."""
    names = list(dict.fromkeys(name for outcome in outcomes for name in outcome.samples))
    table = Table("work", "", *names, title="Medians of runs (least to most)")
    goals = Table("goal", "measured (least to most)", "runs", "", title="Goals: ratios of medians within a run")
    for outcome in outcomes:
        for seen in (False, True):
            if seen and outcome.work.measure not in {"elapsed", "throughput"}:
                continue
            cells = [
                cell(spread(outcome.medians(name, seen=seen))) if name in outcome.samples else "" for name in names
            ]
            what = "as a client sees it" if seen else outcome.work.unit
            table.add_row("" if seen else outcome.work.name, what, *cells)
        cpu = [cell(outcome.cpu_ms(name)) if name in outcome.samples else "" for name in names]
        table.add_row("", "CPU, ms a chunk", *cpu)
        for verdict in outcome.verdicts():
            runs = f"{verdict.runs_met} of {outcome.runs}"
            goals.add_row(
                goal_shown(outcome.work, verdict), cell(verdict.ratio), runs, "met" if verdict.met else "NOT MET"
            )
    console.print(table)
    if goals.row_count:
        console.print(goals)
    loads = [sample.load for outcome in outcomes for runs in outcome.samples.values() for run in runs for sample in run]
    if loads:
        console.print(f"Load of the machine meanwhile: {cell(spread(loads))}")
    for outcome in outcomes:
        for name in outcome.samples:
            for counts in outcome.calls_differ(name):
                console.print(f"OTHER WORK: {outcome.work.name}, {name}: the model saw {counts}")


def goal_shown(work: Work, verdict: Verdict) -> str:
    """Describe a goal in one line, such as `240 chunks × 200 ms: queue ≤ 2 s`."""
    return " ".join(goal_parts(work, verdict))


def goal_parts(work: Work, verdict: Verdict) -> tuple[str, str]:
    """Describe a goal in two parts, such as `240 chunks × 200 ms: queue` and `≤ 2 s`."""
    goal = verdict.goal
    sign = "≥" if work.measure in MORE_IS_BETTER else "≤"
    bound = f"{goal.bound:g} {work.unit}" if goal.of is None else f"{goal.bound:g} × {goal.of}"
    return f"{work.name}: {goal.system}", f"{sign} {bound}"


def cell(value: Spread) -> str:
    """Return a spread as text, such as `0.874 (0.871 to 0.891)`."""
    numbers = [_number(value.median), _number(value.least), _number(value.most)]
    return numbers[0] if numbers[1] == numbers[2] else f"{numbers[0]} ({numbers[1]} to {numbers[2]})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
