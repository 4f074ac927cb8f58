"""`python -m simulator.overload`: many workers on one database that serves one call at a time, with and without stalls.

Each load is run first without a stall of the database, and then with each length of a stall. It demands three things.
All tasks end. After a stall of the database, the rest of the load takes at most 1.5 times as long as the whole load
without a stall. The workers write at most twice for each call that ended, plus twice a minute for each task.
"""

import argparse
import math
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from simulator.campaign.load.overload import ROUTES, LoadResult, loads, play, written
from simulator.options import positive

CONSOLE = Console(highlight=False, width=120)


def main(arguments: list[str] | None = None) -> int:
    """Run the loads that the command line names. The exit status is 1 if a load misses one of the three demands."""
    options = _parser().parse_args(arguments)
    table = _table()
    outcomes: list[LoadResult] = []
    missed = 0
    for load, stalled in loads(
        options.workers, options.service_ms, options.stalls, options.route, options.limit_seconds
    ):
        CONSOLE.print(f"{load.workers} workers, {load.service_seconds * 1000:.0f} ms a call …")
        calm = play(load, options.seed)
        for outcome in (calm, *(play(other, options.seed) for other in stalled)):
            outcomes.append(outcome)
            wrong = outcome.faults(calm)
            missed += bool(wrong)
            table.add_row(*_cells(outcome, calm), ", ".join(wrong) or "good")
    CONSOLE.print(table)
    CONSOLE.print(f"{len(outcomes) - missed} of {len(outcomes)} loads are as they should be")
    if options.report is not None:
        written(outcomes, options.report)
    return 1 if missed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.overload", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workers", type=positive, nargs="+", default=[100, 250, 500], help="how many (default 100 250 500)"
    )
    parser.add_argument(
        "--service-ms", type=positive, nargs="+", default=[5, 10, 20], help="the database's time a call (5 10 20)"
    )
    parser.add_argument("--stalls", type=positive, nargs="+", default=[5, 30, 90], help="seconds (default 5 30 90)")
    parser.add_argument(
        "--route",
        choices=ROUTES,
        default="queue",
        help="where workers run: a few isolates (queue), or one each (objects)",
    )
    parser.add_argument(
        "--limit-seconds",
        type=positive,
        default=300,
        help="simulated time after which a load is given up (default 300)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of latencies and of the model's times (default 0)")
    parser.add_argument("--report", type=Path, help="write the figures there, as JSON")
    return parser


def _table() -> Table:
    table = Table(title="Workers on one database", title_justify="left")
    for name in ("workers", "ms a call", "stall s", "completed", "seconds", "after stall", "calls to D1", "writes"):
        table.add_column(name, justify="right")
    table.add_column("model calls", justify="right")
    table.add_column("verdict")
    return table


def _cells(outcome: LoadResult, calm: LoadResult) -> tuple[str, ...]:
    load = outcome.load
    ratio = outcome.after_stall_seconds / calm.seconds if math.isfinite(outcome.seconds) else math.inf
    return (
        f"{load.workers}",
        f"{load.service_seconds * 1000:.0f}",
        f"{load.stall_seconds:.0f}" if load.stall_seconds else "none",
        f"{outcome.completed}",
        f"{outcome.seconds:.1f}" if math.isfinite(outcome.seconds) else "never",
        "" if not load.stall_seconds or not math.isfinite(ratio) else f"{ratio:.2f} x",
        f"{outcome.batches:,}",
        f"{outcome.writes:,} of {outcome.writes_allowed:,.0f}",
        f"{outcome.calls:,}",
    )


if __name__ == "__main__":
    sys.exit(main())
