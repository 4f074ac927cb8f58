"""One row of the table: what was measured, its goal, the figure, and whether the goal is met."""

from dataclasses import asdict, dataclass

from bench.figures import Figure
from bench.references.outcome import Outcome
from bench.references.tables import cell, goal_parts
from bench.references.works import Work


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `is_met` is None if there is no goal. `runs` says in how many runs the goal was met."""

    what: str
    goal: str
    measured: str
    is_met: bool | None
    runs: str = ""

    @property
    def verdict(self) -> str:
        """The verdict as text for people."""
        return {None: "", True: "met", False: "NOT MET"}[self.is_met]

    def record(self) -> dict[str, object]:
        """The row as JSON, from which `Row(**record)` makes the row again."""
        return asdict(self)


def of_figure(figure: Figure) -> Row:
    """Make the row of a figure."""
    has_bound = figure.most is not None
    return Row(figure.name, figure.bound_shown, figure.shown, figure.within if has_bound else None)


def of_work(work: Work, outcome: Outcome | None, runs: int) -> list[Row]:
    """Make a row for each goal of a work, and one if the work failed or the model saw other calls than it should."""
    if outcome is None:
        return [Row(work.name, "", "no run in which all systems did the work", is_met=False)]
    rows = []
    for verdict in outcome.verdicts():
        what, bound = goal_parts(work, verdict)
        met = f"{verdict.runs_met} of {outcome.runs}"
        rows.append(Row(what, bound, cell(verdict.ratio), verdict.met, met))
    if outcome.runs < runs:
        rows.append(Row(f"{work.name}: complete runs", f"{runs}", f"{outcome.runs}", is_met=False))
    strange = [name for name in outcome.samples if outcome.calls_differ(name)]
    if strange:
        rows.append(Row(f"{work.name}: one model call for each chunk", "", ", ".join(strange), is_met=False))
    return rows
