"""`python -m bench.capacity` finds the rate of tasks at which the local runtime takes twice as long for a task.

Each task has four chunks, whose model calls take 200 ms. Tasks are submitted at even intervals, even if earlier tasks
are still running. The program keeps each rate up for some seconds. A task's time is from its creation to its end, by
the times that the measured system reports. The program starts the next rate once all tasks of the previous rate have
ended. The measurement ends with the first rate at which the median time of a task is twice that of the lowest rate.

The result of this measurement is the local runtime's capacity, with Worker, database and queue in one thread of one
machine. The program `python -m simulator.capacity` computes how many tasks one database carries
(docs/decisions/state.md#d0037).
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.references import works
from bench.references.systems import Model, client_of, finished, moment, server_of
from bench.references.works import CHARS, Work, texts
from tests.support.client import Client
from tests.support.dev_server import DevServer
from tests.support.processor_time import cpu_seconds

RATES = (2, 5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 80)
SECONDS = 10
SENDERS = 16  # the largest number of submissions that are under way at once
TASK = Work(
    "capacity", "4 chunks × 200 ms", "elapsed", tasks=1, chunks=4, delay_ms=200, systems=(), goals=(), repeats=1
)


@dataclass(frozen=True, slots=True)
class Rate:
    """The requested and the reached rate in tasks a second, the seconds of each task, and how many cores were busy."""

    asked: float
    reached: float
    seconds: Sequence[float]
    cores: float

    @property
    def median(self) -> float:
        """The median time of a task in seconds."""
        return statistics.median(self.seconds)

    @property
    def slowest(self) -> float:
        """The time in seconds within which 19 of 20 tasks end."""
        return sorted(self.seconds)[int(0.95 * len(self.seconds))]


def keep_up(server: DevServer, client: Client, rate: float, seconds: float) -> Rate:
    """Submit tasks at a rate, and wait until all have ended."""
    inputs = texts(replace(TASK, tasks=round(rate * seconds)), CHARS)
    began, spent = time.perf_counter(), cpu_seconds(server.process.pid)
    pause = threading.Event()

    def submit(number: int, text: str) -> str:
        pause.wait(max(0.0, began + number / rate - time.perf_counter()))
        return str(client.submit(text, chunk={"maxChars": CHARS})["id"])

    with ThreadPoolExecutor(SENDERS) as pool:
        ids = list(pool.map(submit, range(len(inputs)), inputs))
    finished(client, ids[-1])
    busy = (cpu_seconds(server.process.pid) - spent) / (time.perf_counter() - began)
    tasks = [finished(client, task_id) for task_id in ids]
    created, ended = ([moment(task[name]) for task in tasks] for name in ("createdAt", "finishedAt"))
    taken = [end - begin for begin, end in zip(created, ended, strict=True)]
    return Rate(rate, len(tasks) / max(seconds, max(ended) - min(created)), taken, busy)


def measure(system: str, rates: Sequence[float], seconds: float) -> Iterator[Rate]:
    """Measure one rate after the other until tasks take twice as long as at the first rate."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Model() as model,
        server_of(system, Path(folder), model.url) as server,
    ):
        client = client_of(server.url)
        model.plan(delay_ms=TASK.delay_ms, output_chars=CHARS)
        keep_up(server, client, 20, 2)  # warm up the server
        first = None
        for rate in rates:
            found = keep_up(server, client, rate, seconds)
            first = first or found.median
            yield found
            if found.median >= 2 * first:
                return


def main(arguments: Sequence[str]) -> int:
    """Measure each system, and print its table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    systems = (works.QUEUE, works.OBJECTS)
    parser.add_argument("--systems", nargs="+", choices=systems, default=systems)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES, help="tasks a second, rising")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long a rate is kept up, default 10")
    options = parser.parse_args(arguments)
    if options.seconds <= 0 or min(options.rates) <= 0:
        parser.error("--seconds and --rates must be above 0")
    console = Console(width=100)
    for system in options.systems:
        table = Table(
            *("tasks a second", "reached", "a task takes, s: median", "95 %", "cores busy"),
            title=f"{system}, {TASK.name}",
        )
        for rate in measure(system, options.rates, options.seconds):
            print(f"  {system} · {rate.asked:g} a second: median {rate.median:.2f} s", flush=True)
            table.add_row(
                *(
                    f"{rate.asked:g}",
                    f"{rate.reached:.1f}",
                    f"{rate.median:.2f}",
                    f"{rate.slowest:.2f}",
                    f"{rate.cores:.2f}",
                )
            )
        console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
