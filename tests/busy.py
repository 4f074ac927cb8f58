"""Runs `make test` beside processes at full load: `python -m tests.busy`. `PYTEST_ARGS` selects tests."""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOADS = 2  # the number of processes at full load; CI's machines have two cores
# The process loads a core until its parent has ended, even if the parent was killed.
_LOAD = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"


def _loaded(command: Sequence[str], loads: int) -> int:
    with ExitStack() as stack:
        for _ in range(loads):
            load = stack.enter_context(subprocess.Popen([sys.executable, "-c", _LOAD]))
            stack.callback(load.kill)
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.busy", description="Run make test on a busy machine.")
    parser.add_argument("--loads", type=int, default=LOADS, help=f"processes at full load (default {LOADS})")
    options = parser.parse_args(arguments)
    if options.loads < 1:
        parser.error("--loads must be at least 1")
    try:
        return _loaded(["make", "test"], options.loads)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
