"""Runs the kernel's unit tests and schedules in a copy without features: `python -m tests.kernel_alone`."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from shutil import copytree, ignore_patterns

from tests.support import tiers

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "tests": ["pytest", "-q", "-m", "not slow and not campaign", "tests/unit/kernel"],
    "schedules": ["simulator", "--seeds", "200", "--workers", "1"],
}
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
    """Run the parts that the arguments name, or else all, at once. Return the exit status."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        copy_kernel(Path(folder))
        environ = {**os.environ, tiers.VARIABLE: "quick"}
        commands = [command for name, command in PARTS.items() if name in (arguments or PARTS)]
        running = [subprocess.Popen([sys.executable, "-m", *command], cwd=folder, env=environ) for command in commands]
        statuses = [process.wait() for process in running]
    print(f"the kernel alone: {'FAILED' if any(statuses) else 'passed'} in {time.monotonic() - began:.0f} s")
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
