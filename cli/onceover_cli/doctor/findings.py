"""One finding: its level, the evidence, and what mends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..shapes import Json


class Level(StrEnum):
    """How serious a finding is. A `note` is information and needs no repair; `skipped` could not be checked."""

    OK = "ok"
    NOTE = "note"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its result. `fix` says what to run or to change; it is empty if nothing needs repair."""

    id: str
    level: Level
    evidence: str
    fix: str = ""

    def view(self) -> Json:
        """Return the object that `--json` shows."""
        return {"id": self.id, "level": str(self.level), "evidence": self.evidence, "fix": self.fix or None}


def ok(check_id: str, evidence: str) -> Check:
    """Return a check that found all well."""
    return Check(check_id, Level.OK, evidence)


def fault(check_id: str, evidence: str, fix: str) -> Check:
    """Return a check that found a fault: tasks cannot be done, or a promise cannot be kept."""
    return Check(check_id, Level.FAULT, evidence, fix)


def warning(check_id: str, evidence: str, fix: str) -> Check:
    """Return a check that found something that is or may become trouble."""
    return Check(check_id, Level.WARNING, evidence, fix)


def skipped(check_id: str, evidence: str, fix: str = "") -> Check:
    """Return a check that could not be made, and what would make it possible."""
    return Check(check_id, Level.SKIPPED, evidence, fix)


def is_sound(checks: Iterable[Check]) -> bool:
    """Whether no check found a fault."""
    return all(check.level is not Level.FAULT for check in checks)
