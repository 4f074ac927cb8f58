"""Runs the checks without a mutant, to find whether they pass, how long they take, and what Worker code they run."""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any

from mutation import child
from mutation.checks import Check, Reach
from mutation.mutants import Mutant
from mutation.trial import Verdict, run
from mutation.workspace import Workspace

# The bound of a check without a mutant, in seconds of processor time. No check takes so long.
CHECK_SECONDS_MOST = 600.0


class Baseline:
    """The checks of a project, each with its `Reach` and its key (see `Check.key`)."""

    def __init__(self, reaches: dict[Check, Reach], keys: dict[Check, str]) -> None:
        self.failing = {check: reach.failure for check, reach in reaches.items() if reach.failure is not None}
        self.reaches = {check: reach for check, reach in reaches.items() if reach.failure is None}
        self.keys = keys

    def reaching(self, mutant: Mutant, changed: frozenset[str]) -> list[tuple[Check, Reach]]:
        """Return the checks that run the code or the SQL statement that a mutant changes.

        `changed` has the texts of the changed statements. Code outside functions and code that makes statements runs
        when its module is imported. A check notices a changed statement only if it sets parameters for the statement.
        """
        if changed:
            digests = {child.statement_digest(text) for text in changed}
            return [one for one in self.reaches.items() if digests & one[1].statements]
        name = f"{mutant.path}::{mutant.scope}"
        if any(name in reach.functions for reach in self.reaches.values()):
            return [one for one in self.reaches.items() if name in one[1].functions]
        return [one for one in self.reaches.items() if mutant.path in one[1].modules]


class Known:
    """Keeps the results of the checks of earlier runs on disk, by the checks' keys.

    Failures of checks are not kept on disk, so that failed checks run again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._facts: dict[str, list[Any]] = json.loads(path.read_text("utf-8")) if path.exists() else {}

    def get(self, key: str) -> Reach | None:
        """Return the stored result of the check with the given key, or None if there is none."""
        facts = self._facts.get(key)
        if facts is None:
            return None
        seconds, functions, modules, statements = facts
        return Reach(seconds, frozenset(functions), frozenset(modules), frozenset(statements))

    def add(self, key: str, reach: Reach) -> None:
        """Store the result of a check that passed. Several threads may call this function at the same time."""
        if reach.failure is not None:
            return
        with self._lock:
            self._facts[key] = [reach.seconds, *map(sorted, (reach.functions, reach.modules, reach.statements))]
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_text(json.dumps(self._facts), "utf-8")
            new.replace(self._path)


def measure(
    checks: Iterable[Check], copies: list[Workspace], tree: str, known: Known, progress: Callable[[Check], None]
) -> Baseline:
    """Run each check without a known result by itself in one of the copies, and call `progress` for each check."""
    keys = {check: check.key(copies[0].root, tree) for check in checks}
    free: SimpleQueue[Workspace] = SimpleQueue()
    for copy in copies:
        free.put(copy)

    def measured(check: Check) -> tuple[Check, Reach]:
        reach = known.get(keys[check])
        if reach is None:
            copy = free.get()
            try:
                reach = _reach(run(copy.path, [check], CHECK_SECONDS_MOST, quick=check.is_quick, trace=True))
            finally:
                free.put(copy)
            known.add(keys[check], reach)
        progress(check)
        return check, reach

    with ThreadPoolExecutor(len(copies)) as pool:
        return Baseline(dict(pool.map(measured, keys)), keys)


def _reach(verdict: Verdict) -> Reach:
    facts = verdict.facts
    return Reach(
        round(verdict.seconds, 2),
        frozenset(facts.get("functions", ())),
        frozenset(facts.get("modules", ())),
        frozenset(facts.get("statements", ())),
        None if verdict.passed else f"{verdict.killer}: {verdict.message}",
    )
