"""Measures the parts one after the other, and prints the table of all goals."""

import time
from collections.abc import Sequence

import httpx
from rich.console import Console
from rich.table import Table

from bench.goals.kept import Kept, Measured, load
from bench.goals.parts import PARTS, Size
from bench.goals.rows import Row
from bench.references.measuring import ended_by_sigterm
from tests.support.dev_server import ServerEnded

FAILURES = (AssertionError, OSError, ServerEnded, httpx.HTTPError)
FAILED, STOPPED = 1, 130


def run(kept: Kept, size: Size, names: Sequence[str], console: Console) -> int:
    """Measure the named parts that are not yet kept, and print the table of these parts.

    A part that fails is not kept; the next parts are measured. Ctrl-C ends the measurement. Returns the exit status: 1
    if a part failed or a goal is not met, and 130 after Ctrl-C.
    """
    status = 0
    for number, name in enumerate(names, 1):
        title = f"Part {number} of {len(names)}, {name}"
        if name in kept.parts:
            print(f"{title}: kept from {kept.parts[name].at}", flush=True)
            continue
        print(f"{title} …", flush=True)
        began, load_before = time.monotonic(), load()
        try:
            with ended_by_sigterm():
                rows = PARTS[name](size)
        except KeyboardInterrupt:
            print(f"Stopped in {name}: the same command goes on with this part", flush=True)
            status = STOPPED
            break
        except FAILURES as error:
            print(f"FAILED, and left out: {name}: {error!r}", flush=True)
            status = FAILED
            continue
        kept.add(name, rows, time.monotonic() - began, load_before)
        print(f"  {kept.parts[name].seconds:.0f} s", flush=True)
    show({name: kept.parts[name] for name in names if name in kept.parts}, console)
    missed = any(row.is_met is False for name in names if name in kept.parts for row in kept.parts[name].rows)
    return status or int(missed)


def show(parts: dict[str, Measured], console: Console) -> None:
    """Print the table of the finished parts, and how many goals are met."""
    table = Table("what", "goal", "measured: median (least to most)", "runs", "")
    for name, part in parts.items():
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]", "", f"load {part.load:g}, {part.seconds:.0f} s", "", "")
        for row in part.rows:
            table.add_row(row.what, row.goal, row.measured, row.runs, row.verdict)
    console.print(table)
    judged: list[Row] = [row for part in parts.values() for row in part.rows if row.is_met is not None]
    console.print(f"{sum(row.is_met is True for row in judged)} of {len(judged)} goals are met.")
