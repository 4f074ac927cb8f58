"""`python -m mutation.mistakes` puts known mistakes into copies of the project, and checks that tests notice each.

`mistakes.toml` lists the mistakes: what a tired developer may write, the promise that it breaks, and the tests that
must notice it. They are tests of the changed file's own folder, so that a developer sees the mistake within seconds.
"""

import argparse
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from queue import SimpleQueue

from rich.console import Console

from mutation.checks import Check
from mutation.mutants import Mutant
from mutation.run import workspaces
from mutation.source import Span
from mutation.trial import Verdict, run
from mutation.workspace import Workspace
from simulator.figures import keep_figures
from tests import quick

ROOT = Path(__file__).resolve().parents[1]
TABLE = Path(__file__).parent / "mistakes.toml"
CONSOLE = Console(highlight=False, soft_wrap=True, markup=False)
# The bound of processor time for the tests of one mistake, which take some seconds without it.
PROCESSOR_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A known mistake: in the file `path`, the text `new` replaces the text `old`, which occurs once.

    `tests` are names of tests, as pytest writes them. At least one must fail with the mistake.
    """

    name: str
    path: str
    old: str
    new: str
    promise: str
    tests: list[str]

    def mutant(self, root: Path) -> Mutant:
        """Return the mistake as a mutant of a project's file. Raises ValueError unless the old text occurs once."""
        text = (root / self.path).read_text("utf-8")
        if text.count(self.old) != 1:
            raise ValueError(f"{self.name}: {self.path} has the old text {text.count(self.old)} times")
        start = text.index(self.old)
        line = text.count("\n", 0, start) + 1
        span = Span(start, start + len(self.old))
        return Mutant(self.name, self.path, span, self.new, "known mistake", "", line, self.old)

    def checks(self) -> list[Check]:
        """Return the tests that must notice the mistake."""
        return [Check(name, is_quick=False) for name in self.tests]


def read(path: Path = TABLE) -> list[Mistake]:
    """Read the table of known mistakes."""
    return [Mistake(name=name, **entry) for name, entry in tomllib.loads(path.read_text("utf-8")).items()]


def is_noticed(verdict: Verdict) -> bool:
    """Whether a test failed. A module that cannot be imported is no test: it would fail with any mistake."""
    return "::" in verdict.killer


def judge(mistakes: Sequence[Mistake], root: Path, copies: Sequence[Workspace]) -> Iterator[tuple[Mistake, Verdict]]:
    """Put each mistake into a copy, one at a time in each, and yield what its tests say, in the order of the table."""
    free: SimpleQueue[Workspace] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def one(mistake: Mistake) -> tuple[Mistake, Verdict]:
        copy = free.get()
        try:
            with copy.holding(mistake.mutant(root)):
                return mistake, run(copy.path, mistake.checks(), PROCESSOR_SECONDS, quick=False)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(len(copies)) as pool:
        yield from pool.map(one, mistakes)


def without_mistakes(mistakes: Iterable[Mistake], copy: Workspace) -> Verdict:
    """Run the tests of mistakes without a mistake. They must pass, because a test that always fails notices nothing."""
    checks = list(dict.fromkeys(check for mistake in mistakes for check in mistake.checks()))
    return run(copy.path, checks, PROCESSOR_SECONDS * len(checks), quick=False)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line. The exit status is 1 if a mistake is not noticed, and 2 if nothing could be judged."""
    parser = argparse.ArgumentParser(prog="python -m mutation.mistakes", description=__doc__)
    parser.add_argument("names", nargs="*", help="names of mistakes, * for any characters; default: all")
    parser.add_argument("--workers", type=int, default=2, help="how many mistakes are judged at a time (default 2)")
    asked = parser.parse_args(arguments)
    chosen = [one for one in read() if not asked.names or any(fnmatch(one.name, name) for name in asked.names)]
    if not chosen:
        CONSOLE.print("no mistake has such a name")
        return 2
    with workspaces(ROOT, max(1, asked.workers)) as copies:
        before = without_mistakes(chosen, copies[0])
        if not before.passed:
            CONSOLE.print(f"fails without a mistake: {before.killer}: {before.message}")
            return 2
        tiers = Counter[str]()
        for mistake, verdict in judge(chosen, ROOT, copies):
            if is_noticed(verdict):
                tiers["quick" if verdict.killer.startswith(quick.FOLDERS) else "test"] += 1
            told = f"noticed by {verdict.killer}" if is_noticed(verdict) else f"NOT NOTICED: {mistake.promise}"
            CONSOLE.print(f"{mistake.name}: {told}")
    noticed = tiers.total()
    keep_figures(mistakes=len(chosen), noticed=noticed, tiers=dict(tiers))
    CONSOLE.print(f"{noticed} of {len(chosen)} mistakes noticed, by tests of the tiers {dict(tiers)}")
    return 0 if noticed == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
