"""One thing that was looked at: how it stands, by what that shows, and what mends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..shapes import Json


class Level(StrEnum):
    """How something stands. A `note` is worth knowing and nothing to mend; `skipped` could not be looked at."""

    OK = "ok"
    NOTE = "note"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Check:
    """A check and what came of it. `fix` is what to run or to change; empty where there is nothing to mend."""

    id: str
    level: Level
    evidence: str
    fix: str = ""

    def view(self) -> Json:
        """Show it as `--json` does."""
        return {"id": self.id, "level": str(self.level), "evidence": self.evidence, "fix": self.fix or None}


def ok(check_id: str, evidence: str) -> Check:
    """Return a check that found all well."""
    return Check(check_id, Level.OK, evidence)


def fault(check_id: str, evidence: str, fix: str) -> Check:
    """Return a check that found what keeps tasks from being done, or a promise from being kept."""
    return Check(check_id, Level.FAULT, evidence, fix)


def warning(check_id: str, evidence: str, fix: str) -> Check:
    """Return a check that found what will be trouble, or may be."""
    return Check(check_id, Level.WARNING, evidence, fix)


def skipped(check_id: str, evidence: str, fix: str = "") -> Check:
    """Return a check that could not be made, and what would let it."""
    return Check(check_id, Level.SKIPPED, evidence, fix)


def is_sound(checks: Iterable[Check]) -> bool:
    """Whether no check found a fault."""
    return all(check.level is not Level.FAULT for check in checks)
