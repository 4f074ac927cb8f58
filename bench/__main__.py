"""`make bench`: measures, prints a table, and writes the same figures to .build/bench.json.

Counters are exact; times are of this machine, at this moment, and only their ratios within one run say much.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import free_plan, imports, splitter, storage, table_size, tasks
from bench.figures import Figure

ROOT = Path(__file__).resolve().parents[1]
PARTS: dict[str, Callable[[], list[Figure]]] = {
    "splitter": splitter.measure,
    "table": table_size.measure,
    "storage": storage.measure,
    "imports": imports.measure,
    "tasks": tasks.measure,
    "free-plan": free_plan.measure,
}


def main(arguments: list[str]) -> int:
    """Run the parts asked for; exit status 1 if a figure is over its bound."""
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parser.add_argument("--report", type=Path, default=ROOT / ".build" / "bench.json")
    options = parser.parse_args(arguments)
    figures: list[Figure] = []
    for name in options.parts or PARTS:
        started = time.monotonic()
        print(f"{name} …", flush=True)
        figures += PARTS[name]()
        print(f"  {time.monotonic() - started:.0f} s", flush=True)
    table = Table("what", "figure", "bound", "")
    for figure in figures:
        table.add_row(figure.name, figure.shown, figure.bound_shown, "" if figure.within else "OVER")
    Console(width=120).print(table)
    options.report.parent.mkdir(parents=True, exist_ok=True)
    report = {"commit": _commit(), "machine": _machine(), "figures": [figure.record() for figure in figures]}
    options.report.write_text(json.dumps(report, indent=2) + "\n")
    print(f"Written to {options.report.relative_to(Path.cwd())}" if options.report.is_relative_to(Path.cwd()) else "")
    return 0 if all(figure.within for figure in figures) else 1


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _machine() -> dict[str, object]:
    return {"python": platform.python_version(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
