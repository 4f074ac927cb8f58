"""Keeps the finished parts of a measurement in a file, so that a measurement that was stopped can go on."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.goals.parts import Size
from bench.goals.rows import Row

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished part: its rows, the seconds that it took, when it ended, and the machine's load before it."""

    rows: list[Row]
    seconds: float
    at: str
    load: float

    def record(self) -> dict[str, object]:
        """The part as JSON."""
        rows = [row.record() for row in self.rows]
        return {"rows": rows, "seconds": self.seconds, "at": self.at, "load": self.load}


class Kept:
    """The file of finished parts.

    Parts of another source, or of another size of the measurement, are forgotten. `facts` describes the machine.
    """

    def __init__(self, path: Path, size: Size, facts: Mapping[str, object], *, source: str, anew: bool = False) -> None:
        self._path = path
        self._of = {"source": source, "runs": size.runs, "quick": size.quick}
        self._facts = facts
        self.parts: dict[str, Measured] = {} if anew else self._read()

    def add(self, name: str, rows: list[Row], seconds: float, load: float) -> None:
        """Add a finished part, and write the file. A write that is cut off leaves the file as it was."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        self.parts[name] = Measured(rows, round(seconds, 1), at, load)
        parts = {name: part.record() for name, part in self.parts.items()}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        written = self._path.with_suffix(".part")
        written.write_text(json.dumps({**self._facts, "of": self._of, "parts": parts}, indent=2) + "\n")
        written.replace(self._path)

    def _read(self) -> dict[str, Measured]:
        try:
            found: dict[str, Any] = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        if found.get("of") != self._of:
            return {}
        return {name: _part(record) for name, record in found["parts"].items()}


def _part(record: dict[str, Any]) -> Measured:
    rows = [Row(**row) for row in record["rows"]]
    return Measured(rows, record["seconds"], record["at"], record["load"])


def source_of() -> str:
    """Identify the measured source: the commit and the changes since."""
    changes = subprocess.run(["git", "diff", "HEAD"], cwd=ROOT, capture_output=True, check=False).stdout
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False).stdout
    return hashlib.sha256(commit + changes).hexdigest()[:16]


def load() -> float:
    """The machine's average load over the last minute."""
    return round(os.getloadavg()[0], 2)
