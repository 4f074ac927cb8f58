"""`python -m simulator.brownouts`: a share of the model calls fails for a while; calls for some texts always fail.

It demands three things. All tasks complete, except those with a chunk that always fails; these tasks fail within a
quarter of an hour after the brown-out's end. Tasks make at most 1.5 times the model calls that the share of failing
calls requires. Within 10 s after the brown-out's end, the workers make as many model calls at once as before the
brown-out.
"""

import argparse
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from simulator.campaign.load.brownouts import ROUTES, BrownOutResult, brown_outs, play, written
from simulator.options import positive

CONSOLE = Console(highlight=False, width=120)


def main(arguments: list[str] | None = None) -> int:
    """Run the brown-outs that the command line names.

    The exit status is 1 if a brown-out misses one of the three demands in the module's docstring.
    """
    options = _parser().parse_args(arguments)
    table = _table()
    outcomes: list[BrownOutResult] = []
    missed = 0
    shares = [percent / 100 for percent in options.percent]
    for brown_out in brown_outs(shares, options.minutes, options.route, options.poisoned_in):
        CONSOLE.print(f"{brown_out.share:.0%} for {brown_out.seconds:.0f} s, {brown_out.route} …")
        outcome = play(brown_out, options.seed)
        outcomes.append(outcome)
        wrong = outcome.faults()
        missed += bool(wrong)
        table.add_row(*_cells(outcome), ", ".join(wrong) or "good")
    CONSOLE.print(table)
    CONSOLE.print(f"{len(outcomes) - missed} of {len(outcomes)} brown-outs are as they should be")
    if options.report is not None:
        written(outcomes, options.report)
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.brownouts", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--percent", type=positive, nargs="+", default=[10, 30, 50, 80], help="of the calls fail (default 10 30 50 80)"
    )
    parser.add_argument("--minutes", type=positive, nargs="+", default=[1, 10, 60], help="for so long (1 10 60)")
    parser.add_argument("--route", choices=ROUTES, nargs="+", default=list(ROUTES), help="where runs work (all)")
    parser.add_argument(
        "--poisoned-in",
        type=int,
        nargs="+",
        default=[0, 20],
        help="one task in so many has a chunk that always fails; 0: none (default 0 20)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of latencies and of which calls fail (default 0)")
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    return parser


def _table() -> Table:
    table = Table(title="Brown-outs", title_justify="left")
    for name in ("route", "fails", "minutes", "tasks", "poisoned", "wrong ends", "calls", "late s", "wide s"):
        table.add_column(name, justify="right")
    table.add_column("verdict")
    return table


def _cells(outcome: BrownOutResult) -> tuple[str, ...]:
    brown_out = outcome.brown_out
    return (
        brown_out.route,
        f"{brown_out.share:.0%}",
        f"{brown_out.seconds / 60:.0f}",
        f"{outcome.tasks:,}",
        f"{outcome.poisoned:,}",
        f"{len(outcome.lost):,}",
        f"{outcome.calls:,} ({outcome.calls / outcome.needed:.2f} x)",
        f"{outcome.late:.0f}" if outcome.poisoned else "",
        f"{outcome.wide:.1f}" if math.isfinite(outcome.wide) else "never",
    )


if __name__ == "__main__":
    sys.exit(main())
