"""`make quick` runs the tests that need no real runtime, and some simulated schedules.

With `ONLY=area`, the program runs only what a change in the area affects: the tests in the area's folders, and the test
modules that import the area.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support import tiers

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("tests/unit", "tests/property", "tests/api")
CHOSEN = "not slow and not campaign"
SCHEDULES = 100
# A change in one of the areas in this set can affect simulated schedules.
SIMULATED = ("core", "store", "processing", "queue", "objects", "inference", "http", "composition", "simulator")
PACKAGES = ("simulator", "local", "cli", "bench")


def areas() -> list[str]:
    """List the areas: the folders of `src`, and the packages beside `src`."""
    rooms = (path.name for path in (ROOT / "src").iterdir() if path.is_dir() and not path.name.startswith("_"))
    return sorted({*rooms, *PACKAGES})


def modules_of(area: str) -> Iterator[Path]:
    """Yield the test modules in an area's folders, and the test modules that import the area."""
    name = {"cli": "onceover_cli"}.get(area, area if area in PACKAGES else rf"src\.{area}")
    imported = re.compile(rf"^\s*(from|import) {name}\b", re.MULTILINE)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("test_*.py")):
            is_its_own = area in path.relative_to(ROOT).parts or (area == "http" and folder == "tests/api")
            if is_its_own or imported.search(path.read_text("utf-8")):
                yield path.relative_to(ROOT)


def main(arguments: list[str]) -> int:
    """Run the tests, then the schedules, and print the total time. Return the exit status."""
    parser = argparse.ArgumentParser(prog="make quick ONLY=…", description=__doc__)
    parser.add_argument("area", nargs="?", choices=areas(), help="default: all")
    area = parser.parse_args(arguments).area
    began = time.monotonic()
    paths = [str(path) for path in modules_of(area)] if area else list(FOLDERS)
    commands = []
    if paths:
        commands.append(["-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-m", CHOSEN, *paths])
    if not area or area in SIMULATED:
        commands.append(["-m", "simulator", "--seeds", str(SCHEDULES), "--workers", "2"])
    environ = {**os.environ, tiers.VARIABLE: "quick"}
    statuses = [
        subprocess.run([sys.executable, *command], cwd=ROOT, env=environ, check=False).returncode
        for command in commands
    ]
    print(f"make quick: {'passed' if not any(statuses) else 'FAILED'} in {time.monotonic() - began:.0f} s")
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
