"""`make bench`: measures, prints a table, and writes the same figures to .build/bench.json.

The measured counters are exact. The measured times depend on this machine and its load; only the ratios of times
within one run are comparable.
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

from bench import (
    cold_starts,
    demo,
    free_plan,
    imports,
    quality,
    splitter,
    storage,
    structured,
    structured_pyodide,
    table_size,
    tasks,
)
from bench.figures import Figure
from bench.goals import parts as goals
from bench.goals import table as goals_table
from bench.goals.kept import Kept, source_of
from bench.references import measuring, tables
from bench.references.works import ALL, CHARS, CHARS_MOST, FAR, FREE, FURTHER, WORKS
from local.node import find_node

ROOT = Path(__file__).resolve().parents[1]
PARTS: dict[str, Callable[[], list[Figure]]] = {
    "splitter": splitter.measure,
    "structured": structured.measure,
    "structured-pyodide": structured_pyodide.measure,
    "demo": demo.measure,
    "table": table_size.measure,
    "storage": storage.measure,
    "imports": imports.measure,
    "cold-starts": cold_starts.measure,
    "tasks": tasks.measure,
    "free-plan": free_plan.measure,
}
REFERENCES = "references"  # the part `references` has a table and flags of its own
QUALITY = "quality"  # the part `quality` is measured alone, with flags of its own: ARGS="quality --help"
GOALS = "goals"  # the part `goals` measures everything that has a goal, in a table and a file of its own
RUNS = {REFERENCES: 3, GOALS: 5}


def main(arguments: list[str]) -> int:
    """Run the requested parts. Return the exit status, 1 if a figure exceeds its bound."""
    if arguments[:1] == [QUALITY]:
        return quality.main(arguments[1:])
    options = _options(arguments)
    if GOALS in options.parts:
        return _goals(options)
    report: dict[str, object] = {"commit": _commit(), "machine": _machine()}
    parts = options.parts or [*PARTS, REFERENCES]
    figures = _figures([name for name in parts if name in PARTS])
    report["figures"] = [figure.record() for figure in figures]
    is_good = True
    if REFERENCES in parts:
        report[REFERENCES], is_good = _references(options)
    path = options.report or ROOT / ".build" / "bench.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    print(f"Written to {path.relative_to(Path.cwd())}" if path.is_relative_to(Path.cwd()) else "")
    return 0 if is_good and all(figure.within for figure in figures) else 1


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    choices = [[], *PARTS, REFERENCES, GOALS, QUALITY]
    parser.add_argument(
        "parts", nargs="*", choices=choices, help=f"default: all; {GOALS} and {QUALITY} are measured alone"
    )
    parser.add_argument("--report", type=Path, help="default: .build/bench.json, or .build/goals.json")
    of_references = parser.add_argument_group(REFERENCES)
    of_references.add_argument("--runs", type=int, help="how often each work is measured, default 3; goals: 5")
    works = [work.key for work in (*WORKS, *FURTHER)]
    of_references.add_argument("--works", nargs="+", default=(), choices=works)
    of_references.add_argument("--systems", nargs="+", default=(), choices=[*ALL, *FREE, *FAR])
    of_references.add_argument("--chars", type=int, default=CHARS, help=f"characters of a chunk, default {CHARS}")
    of_references.add_argument("--quick", action="store_true", help="tiny works, which show that everything runs")
    of_goals = parser.add_argument_group(GOALS)
    of_goals.add_argument("--only", nargs="+", default=list(goals.PARTS), choices=goals.PARTS, help="default: all")
    of_goals.add_argument("--anew", action="store_true", help="measure finished parts again")
    options = parser.parse_args(arguments)
    options.runs = RUNS[GOALS if GOALS in options.parts else REFERENCES] if options.runs is None else options.runs
    if options.runs < 1 or not CHARS <= options.chars <= CHARS_MOST:
        parser.error(f"--runs must be 1 or more, and --chars {CHARS} to {CHARS_MOST:,}")
    if GOALS in options.parts and len(options.parts) > 1:
        parser.error(f"{GOALS} is measured alone")
    return options


def _goals(options: argparse.Namespace) -> int:
    """Measure everything that has a goal."""
    size = goals.Size(options.runs, options.quick)
    facts = {"commit": _commit(), "machine": _machine()}
    path = options.report or ROOT / ".build" / ("goals-quick.json" if options.quick else "goals.json")
    kept = Kept(path, size, facts, source=source_of(), anew=options.anew)
    status = goals_table.run(kept, size, options.only, Console(width=160))
    print(f"Written to {path}", flush=True)
    return status


def _figures(parts: list[str]) -> list[Figure]:
    """Measure the requested parts, and print their table."""
    figures: list[Figure] = []
    for name in parts:
        started = time.monotonic()
        print(f"{name} …", flush=True)
        figures += PARTS[name]()
        print(f"  {time.monotonic() - started:.0f} s", flush=True)
    if not figures:
        return []
    table = Table("what", "figure", "bound", "")
    for figure in figures:
        table.add_row(figure.name, figure.shown, figure.bound_shown, "" if figure.within else "OVER")
    Console(width=120).print(table)
    return figures


def _references(options: argparse.Namespace) -> tuple[dict[str, object], bool]:
    """Measure onceover and the references. Return the record, and whether all systems did the same work."""
    print(f"{REFERENCES} …", flush=True)
    chosen = measuring.Options(options.runs, options.quick, options.works, options.systems, options.chars)
    outcomes = measuring.measure(chosen)
    tables.show(outcomes, Console(width=160))
    record = {
        "runs": options.runs,
        "quick": options.quick,
        "chars": options.chars,
        "works": [outcome.record() for outcome in outcomes],
    }
    is_whole = [outcome.work.key for outcome in outcomes if outcome.runs == options.runs] == [
        work.key for work in chosen.chosen()
    ]
    return record, is_whole and not any(outcome.calls_differ(name) for outcome in outcomes for name in outcome.samples)


def _commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _machine() -> dict[str, object]:
    node = subprocess.run([find_node(), "--version"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {name: _version(name) for name in ("miniflare", "workerd", "pyodide")}
    load = round(os.getloadavg()[0], 2)  # the machine's load before the measurements
    return {"python": platform.python_version(), "node": node, **versions, "cores": os.cpu_count(), "load": load}


def _version(package: str) -> str:
    return json.loads((ROOT / "node_modules" / package / "package.json").read_text())["version"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
