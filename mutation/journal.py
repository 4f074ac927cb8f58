"""Keeps the outcomes of mutants on disk: a run that was killed continues where it stopped."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

# How a mutant can end. A mutant that timed out counts as killed.
KILLED = "killed"
TIMED_OUT = "timed out"
SURVIVED = "survived"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a mutant in a suite, `quick` or `deep`. Seconds are of the processor.

    `key` is a digest of what the outcome depends on: the code, the mutant, and the checks of the suite. If one of these
    changes, the old outcome is ignored.
    """

    id: str
    suite: str
    key: str
    verdict: str
    killer: str = ""
    message: str = ""
    seconds: float = 0.0


class Journal:
    """Outcomes, a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = Lock()
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        for line in path.read_text("utf-8").splitlines() if path.exists() else ():
            try:
                outcome = Outcome(**json.loads(line))
            except (ValueError, TypeError):  # skip the line that the killed run wrote only in part
                continue
            self._outcomes[outcome.id, outcome.key] = outcome

    def add(self, outcome: Outcome) -> None:
        """Write an outcome to disk at once. Threads may call this together."""
        with self._lock, self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(outcome)) + "\n")
            self._outcomes[outcome.id, outcome.key] = outcome

    def get(self, mutant_id: str, key: str) -> Outcome | None:
        """Return the outcome of a mutant under these conditions, if one is known."""
        return self._outcomes.get((mutant_id, key))

    def forget(self) -> None:
        """Delete all outcomes."""
        self._path.unlink(missing_ok=True)
        self._outcomes.clear()
