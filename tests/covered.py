"""Measures how much of the Worker the quick tests execute, by folder of `src`, without requiring a value.

    python -m tests.covered [ARGUMENTS OF PYTEST]

If no test executes a line, no test can notice a mistake in it. If a test executes the line, the test may still not
notice a mistake; mutation testing shows which mistakes the tests notice (docs/verification.md). In a GitHub job, the
program also writes the table into the job's summary.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from coverage import Coverage

from tests import quick
from tests.support import tiers
from tests.support.dev_server import ROOT

DATA = ROOT / ".build" / "coverage"
LEAST_SHOWN = 5  # how many modules the report shows, those with the most missed statements


class Module(NamedTuple):
    """A module of the Worker, with the number of its statements and the number of its executed statements."""

    path: str
    statements: int
    executed: int

    @property
    def room(self) -> str:
        parts = self.path.split("/")
        return "/".join(parts[:2]) if parts[0] in {"kernel", "features"} else parts[0]


def measure(arguments: Sequence[str]) -> int:
    DATA.parent.mkdir(exist_ok=True)
    run = [sys.executable, "-m", "coverage", "run", f"--data-file={DATA}", f"--source={ROOT / 'src'}"]
    command = [*run, "-m", "pytest", "-q", "-m", quick.CHOSEN, *(arguments or quick.FOLDERS)]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, tiers.VARIABLE: "quick"}, check=False).returncode


def modules() -> list[Module]:
    coverage = Coverage(data_file=DATA, config_file=False)
    coverage.load()
    found = []
    for path in sorted((ROOT / "src").rglob("*.py")):
        _, statements, _, missing, _ = coverage.analysis2(str(path))
        name = path.relative_to(ROOT / "src").as_posix()
        found.append(Module(name, len(statements), len(statements) - len(missing)))
    return found


def table(found: Sequence[Module]) -> str:
    statements, executed = Counter[str](), Counter[str]()
    for module in found:
        for room in (module.room, "all"):
            statements[room] += module.statements
            executed[room] += module.executed
    rows = [_row(room, statements, executed) for room in (*sorted(statements.keys() - {"all"}), "all")]
    missed = sorted(found, key=lambda module: module.executed - module.statements)[:LEAST_SHOWN]
    most = ", ".join(f"`{one.path}` {one.statements - one.executed}" for one in missed)
    head = ["| room of src | statements | executed | % |", "| --- | ---: | ---: | ---: |"]
    return "\n".join([*head, *rows, "", f"Most statements that no test executed: {most}."])


def _row(room: str, statements: Mapping[str, int], executed: Mapping[str, int]) -> str:
    share = 100 * executed[room] / max(1, statements[room])
    return f"| {room} | {statements[room]:,} | {executed[room]:,} | {share:.1f} |"


def main(arguments: Sequence[str]) -> int:
    """Measure the coverage and print the table, with a note if tests failed, which another job reports."""
    status = measure(arguments)
    shown = table(modules())
    if status != 0:
        shown += f"\n\nSome tests failed (status {status}), so that less was executed."
    print(shown)
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(f"## Coverage of the quick tests\n\n{shown}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
