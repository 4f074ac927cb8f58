"""Runs the kernel without features: its unit tests, and simulated schedules, in a copy of the tree that has none.

`make test` runs this by `tests/unit/project/test_kernel_alone.py`. Without arguments the program tests and simulates;
arguments are those of pytest for the kernel's tests alone.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import copytree, ignore_patterns

from tests.support import tiers

ROOT = Path(__file__).resolve().parents[1]
SCHEDULES = 200
COPIED = ("src", "local", "simulator", "migrations", "tests/support", "tests/conformance", "tests/unit/kernel")
FILES = ("pyproject.toml", "wrangler.toml", "tests/conftest.py")
NO_FEATURES = '''"""The features of this deployment: none."""

from ..kernel.api.tasks.submission import TaskFields as NewTaskFields
from ..kernel.feature import Feature

__all__ = ("FEATURES", "NewTaskFields")
FEATURES: tuple[Feature, ...] = ()
'''


def copy_kernel(to: Path) -> None:
    """Copy what the kernel's tests and the simulation need, with an empty list in place of the features."""
    for folder in COPIED:
        copytree(ROOT / folder, to / folder, ignore=ignore_patterns("features") if folder == "src" else None)
    for name in FILES:
        (to / name).write_bytes((ROOT / name).read_bytes())
    features = to / "src" / "features"
    features.mkdir()
    (features / "__init__.py").write_text(NO_FEATURES, "utf-8")


def main(arguments: list[str]) -> int:
    """Run the tests and the schedules at once, and print how long they took. Return the exit status."""
    began = time.monotonic()
    commands = [["-m", "pytest", "-q", "-m", "not slow and not campaign", *(arguments or ["tests/unit/kernel"])]]
    if not arguments:
        commands.append(["-m", "simulator", "--seeds", str(SCHEDULES), "--workers", "1"])
    with tempfile.TemporaryDirectory() as folder:
        copy_kernel(Path(folder))
        environ = {**os.environ, tiers.VARIABLE: "quick"}
        running = [subprocess.Popen([sys.executable, *command], cwd=folder, env=environ) for command in commands]
        statuses = [process.wait() for process in running]
    print(f"the kernel alone: {'FAILED' if any(statuses) else 'passed'} in {time.monotonic() - began:.0f} s")
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
