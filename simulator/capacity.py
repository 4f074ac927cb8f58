"""`python -m simulator.capacity` measures how many tasks a second one database carries before they get twice as slow.

The database serves one call at a time, and each call takes a set number of milliseconds. Tasks arrive at rates that
rise until a task takes twice as long as it takes alone. Each task has a client that waits for it with `?wait=25`.
"""

import argparse
import sys

from rich.console import Console
from rich.table import Table

from simulator.campaign.load.arrivals import ArrivalRate, Figures, carried
from simulator.campaign.load.overload import ROUTES
from simulator.options import positive

CONSOLE = Console(highlight=False, width=120)
IDLE = 0.02  # At the first rate the database is busy for about this share of the time.


def main(arguments: list[str] | None = None) -> int:
    """Measure the capacity for each service time that the command line names. Returns the exit status 0."""
    options = _parser().parse_args(arguments)
    table = Table(title="Tasks a second that one database carries", title_justify="left")
    for name in ("ms a call", "tasks/s", "tasks", "submit s", "task s", "database busy", "calls of a task", "refused"):
        table.add_column(name, justify="right")
    for milliseconds in options.service_ms:
        CONSOLE.print(f"{milliseconds} ms a call …")
        seconds = milliseconds / 1000
        first = IDLE / (options.chunks * seconds)
        stream = ArrivalRate(first, seconds, options.chunks, options.route, options.seconds)
        for figures in carried(stream, options.seed):
            table.add_row(*_cells(figures))
    CONSOLE.print(table)
    return 0


def _cells(figures: Figures) -> list[str]:
    stream = figures.stream
    return [
        f"{stream.service_seconds * 1000:g}",
        f"{stream.rate:.2f}",
        str(figures.tasks),
        f"{figures.submit:.2f}",
        f"{figures.task:.1f}",
        f"{figures.busy:.0%}",
        f"{figures.calls:.1f}",
        str(figures.refused),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--service-ms", type=positive, nargs="+", default=[5, 10, 20], help="the database's time a call (5 10 20)"
    )
    parser.add_argument("--chunks", type=positive, default=20, help="of a task, a second each (default 20)")
    parser.add_argument("--route", choices=ROUTES, default="queue", help="where workers run (default queue)")
    parser.add_argument("--seconds", type=positive, default=40, help="for how long tasks come (default 40)")
    parser.add_argument("--seed", type=int, default=0, help="of latencies and of the model's times (default 0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
