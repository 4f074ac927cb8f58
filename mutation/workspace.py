"""Makes copies of the project, in which one file at a time has a mutant."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mutation.mutants import Mutant

# These folders are large and do not have the project's code, so copies of the project share them.
SHARED = ("node_modules", "python_modules", ".venv", ".build")
_NOT_COPIED = {"__pycache__", ".git", ".hypothesis", *SHARED}
# The outcome of every check depends on these files. A file of tests affects only its own outcome.
_DECISIVE = (
    "src",
    "simulator",
    "local",
    "migrations",
    "tests",
    "pyproject.toml",
    "mutation/child.py",
    "mutation/pytest_plugin.py",
    "mutation/simulation.py",
)


class Workspace:
    """A copy of a project at `path`."""

    def __init__(self, root: Path, path: Path) -> None:
        self.root = root
        self.path = path
        path.mkdir(parents=True)
        for entry in sorted(root.iterdir()):
            if entry.name in SHARED:
                (path / entry.name).symlink_to(entry)
            elif entry.is_dir() and entry.name not in _NOT_COPIED:
                shutil.copytree(entry, path / entry.name, ignore=shutil.ignore_patterns(*_NOT_COPIED, "*.pyc"))
            elif entry.is_file():
                shutil.copy2(entry, path / entry.name)

    def put(self, mutant: Mutant) -> None:
        """Put a mutant's mistake into the copy."""
        self._write(mutant.path, mutant.put_into((self.path / mutant.path).read_text("utf-8")))

    @contextmanager
    def holding(self, mutant: Mutant) -> Iterator[None]:
        """Put a mutant into the copy for the time of the block.

        Changes of the project after the making of the copy do not affect the copy.
        """
        text = (self.path / mutant.path).read_text("utf-8")
        self.put(mutant)
        try:
            yield
        finally:
            self._write(mutant.path, text)

    def _write(self, name: str, text: str) -> None:
        """Write a module, and delete its compiled file.

        Python compares the times of the two files by the second, and several mutants may be written within a second.
        """
        path = self.path / name
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()
        path.write_text(text, "utf-8")


def digest(root: Path) -> str:
    """Return a digest of the files on which every check's outcome depends: the code, and what tests use."""
    files = [
        path
        for name in _DECISIVE
        for path in ([root / name] if (root / name).is_file() else sorted((root / name).rglob("*")))
        if path.is_file() and path.suffix != ".pyc" and not path.name.startswith("test_")
    ]
    found = hashlib.sha256()
    for path in files:
        found.update(f"{path.relative_to(root).as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()[:12]
