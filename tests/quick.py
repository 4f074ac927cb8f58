"""`make quick` runs the tests that need no real runtime, and some simulated schedules.

With `ONLY=area`, the program runs only what a change in the area affects: the tests in the area's folders, and the test
modules that import the area.

Three pytest processes share the test modules, and a fourth process simulates, all at once. pytest-xdist would take a
seventh more work: each process would import all modules, and one more handles reports.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from tests.support import tiers

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tests/unit", "tests/property", "tests/api")
CHOSEN = "not slow and not campaign"
SCHEDULES = 100
SHARES = 3  # One more than two cores, so that they have work if a share takes longer than its size suggests.
ONE_SHARE_MOST = 12  # So few modules go to one process, because each process has to import pytest and the Worker.
PACKAGES = ("simulator", "local", "cli", "bench")
# A change in an area of this set cannot affect simulated schedules.
NOT_SIMULATED = ("platform", "local", "cli", "bench")


def areas() -> list[str]:
    within = (ROOT / "src", ROOT / "src" / "kernel", ROOT / "src" / "features")
    folders = (path.name for one in within for path in one.iterdir() if path.is_dir())
    return sorted({*(name for name in folders if not name.startswith("_")), *PACKAGES})


def modules_of(area: str) -> Iterator[Path]:
    name = {"cli": "onceover_cli"}.get(area, area if area in PACKAGES else rf"src\.(kernel\.|features\.)?{area}")
    imported = re.compile(rf"^\s*(from|import) {name}\b", re.MULTILINE)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("test_*.py")):
            if area in path.relative_to(ROOT).parts or imported.search(path.read_text("utf-8")):
                yield path.relative_to(ROOT)


def shares(paths: Iterable[Path]) -> list[list[str]]:
    """Divide test modules by file size among processes that take about as long. No share is empty."""
    sizes = {path.as_posix(): (ROOT / path).stat().st_size for path in paths}
    found: list[list[str]] = [[] for _ in range(SHARES if len(sizes) > ONE_SHARE_MOST else 1)]
    taken = [0] * len(found)
    for path in sorted(sizes, key=lambda path: (-sizes[path], path)):
        least = taken.index(min(taken))
        found[least].append(path)
        taken[least] += sizes[path]
    return [sorted(share) for share in found if share]


def run(commands: Sequence[Sequence[str]]) -> list[int]:
    """Run commands at once, print their outputs in their order, and return their exit statuses."""
    environ = {**os.environ, tiers.VARIABLE: "quick"}
    with ExitStack() as stack:
        started: list[tuple[subprocess.Popen[bytes], IO[bytes] | None]] = []
        for command in commands:
            output: IO[bytes] | None = stack.enter_context(tempfile.TemporaryFile()) if started else None
            errors = None if output is None else subprocess.STDOUT
            process = subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environ, stdout=output, stderr=errors)
            stack.callback(process.wait)
            stack.callback(process.terminate)  # `terminate` does nothing to a process that has ended.
            started.append((process, output))
        statuses = []
        for process, output in started:
            statuses.append(process.wait())
            if output is not None:
                output.seek(0)
                print(output.read().decode("utf-8", "replace"), end="", flush=True)
        return statuses


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make quick ONLY=…", description=__doc__)
    parser.add_argument("area", nargs="?", choices=areas(), help="default: all")
    area = parser.parse_args(arguments).area
    began = time.monotonic()
    every = (path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("test_*.py"))
    commands = [["-m", "pytest", "-q", "-m", CHOSEN, *share] for share in shares(modules_of(area) if area else every)]
    if area not in NOT_SIMULATED:
        commands.append(["-m", "simulator", "--seeds", str(SCHEDULES), "--workers", "1"])
    statuses = run(commands)
    print(f"make quick: {'passed' if not any(statuses) else 'FAILED'} in {time.monotonic() - began:.0f} s")
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
