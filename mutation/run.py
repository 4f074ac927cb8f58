"""Judges mutants in copies of the project by the quick suite, and by the deep suite if the run asks for it."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Literal

from mutation.baseline import Baseline
from mutation.catalogue import statement_files
from mutation.checks import Check, Reach, chosen
from mutation.journal import KILLED, SURVIVED, TIMED_OUT, Journal, Outcome
from mutation.mutants import Mutant
from mutation.statements import Found, Statements
from mutation.trial import run_groups
from mutation.workspace import Workspace

type Suite = Literal["quick", "deep"]


@contextmanager
def workspaces(root: Path, count: int) -> Iterator[list[Workspace]]:
    """Make a given number of copies of the project, which exist within the block."""
    with tempfile.TemporaryDirectory(prefix="mutation-", ignore_cleanup_errors=True) as folder:
        yield [Workspace(root, Path(folder).resolve() / f"copy-{number}") for number in range(count)]


def viable(root: Path, mutants: Sequence[Mutant], most: int) -> list[Found]:
    """Return the first mutants, up to a number, with which the code can run."""
    found: list[Found] = []
    files = frozenset(statement_files(root))
    with closing(Statements(root)) as statements:
        for mutant in mutants:
            if len(found) == most:
                break
            is_statement = mutant.is_sql and mutant.path in files
            one = statements.viable(mutant) if is_statement else Found(mutant, frozenset())
            if one is not None:
                found.append(one)
    return found


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges mutants in copies of the project, one mutant at a time in each copy, and stores the outcomes."""

    baseline: Baseline
    journal: Journal
    copies: list[Workspace]

    def judge(self, found: Sequence[Found], suite: Suite, progress: Callable[[Outcome], None]) -> None:
        """Judge mutants by a suite, except those with a known outcome, and call `progress` with each outcome."""
        free: SimpleQueue[Workspace] = SimpleQueue()
        for copy in self.copies:
            free.put(copy)

        def one(found: Found) -> Outcome:
            outcome = self.known(found, suite)
            if outcome is None:
                copy = free.get()
                try:
                    outcome = self._judged(found, suite, copy)
                finally:
                    free.put(copy)
                self.journal.add(outcome)
            return outcome

        with ThreadPoolExecutor(len(self.copies)) as pool:
            futures = [pool.submit(one, each) for each in found]
            try:
                for future in as_completed(futures):
                    progress(future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def known(self, found: Found, suite: Suite) -> Outcome | None:
        """Return a mutant's stored outcome in a suite, or None if something that decides the outcome has changed."""
        return self.journal.get(found.mutant.id, self._key(found, suite))

    def checks(self, found: Found, suite: Suite) -> list[tuple[Check, Reach]]:
        """Return the checks of a suite that reach a mutant, in the order in which they run."""
        reaching = self.baseline.reaching(found.mutant, found.changed)
        quick, deep = chosen(reaching)
        reaches = dict(reaching)
        return [(check, reaches[check]) for check in (quick if suite == "quick" else deep)]

    def _key(self, found: Found, suite: Suite) -> str:
        keys = sorted(self.baseline.keys[check] for check, _ in self.checks(found, suite))
        return hashlib.sha256("/".join((suite, found.mutant.replacement, *keys)).encode()).hexdigest()[:12]

    def _judged(self, found: Found, suite: Suite, copy: Workspace) -> Outcome:
        checks = [(check, reach.seconds) for check, reach in self.checks(found, suite)]
        with copy.holding(found.mutant):
            verdict = run_groups(copy.path, checks, quick=suite == "quick")
        name = SURVIVED if verdict.passed else TIMED_OUT if verdict.timed_out else KILLED
        seconds = round(verdict.seconds, 1)
        return Outcome(found.mutant.id, suite, self._key(found, suite), name, verdict.killer, verdict.message, seconds)
