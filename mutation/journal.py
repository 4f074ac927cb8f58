"""Keeps the outcomes of mutants on disk, so that a run that was killed can continue where it stopped."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

# The verdicts on a mutant. A mutant that timed out counts as killed.
KILLED = "killed"
TIMED_OUT = "timed out"
SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a mutant in a suite, `quick` or `deep`. The seconds of an outcome are processor time.

    `key` is a digest of the code, of the mutant, and of the checks of the suite. If the code, the mutant or one of
    these checks changes, the journal ignores the old outcome.
    """

    id: str
    suite: str
    key: str
    verdict: str
    killer: str = ""
    message: str = ""
    seconds: float = 0.0


class Journal:
    """The outcomes of mutants, each in one line of a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            try:
                outcome = Outcome(**json.loads(line))
            except (ValueError, TypeError):  # a killed run may have written only a part of a line
                continue
            self._outcomes[outcome.id, outcome.key] = outcome

    def add(self, outcome: Outcome) -> None:
        """Write an outcome to disk at once. Several threads may call this function at the same time."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
            self._outcomes[outcome.id, outcome.key] = outcome

    def get(self, mutant_id: str, key: str) -> Outcome | None:
        """Return the stored outcome of a mutant for this key, or None if there is none."""
        return self._outcomes.get((mutant_id, key))

    def forget(self) -> None:
        """Delete all outcomes."""
        self._path.unlink(missing_ok=True)
        self._outcomes.clear()
