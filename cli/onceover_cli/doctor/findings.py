"""The result of a check: its level, its evidence, and the repair."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ..shapes import Json


class Level(StrEnum):
    """How serious the result of a check by `onceover doctor` is.

    A result of the level `note` is information without a repair. A result of the level `skipped` says that a check
    could not be made.
    """

    OK = "ok"
    NOTE = "note"
    SKIPPED = "skipped"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its result. `fix` says what to run or to change, and is empty if nothing needs repair."""

    id: str
    level: Level
    evidence: str
    fix: str = ""

    def view(self) -> Json:
        """Return the JSON object for this check."""
        return {"id": self.id, "level": str(self.level), "evidence": self.evidence, "fix": self.fix or None}


def ok(check_id: str, evidence: str) -> Check:
    """Return a check that found nothing wrong."""
    return Check(check_id, Level.OK, evidence)


def fault(check_id: str, evidence: str, fix: str) -> Check:
    """Return a check that found a fault: tasks cannot run, or the deployment breaks a promise."""
    return Check(check_id, Level.FAULT, evidence, fix)


def warning(check_id: str, evidence: str, fix: str) -> Check:
    """Return a check that found a problem that is not a fault, or may become one."""
    return Check(check_id, Level.WARNING, evidence, fix)


def skipped(check_id: str, evidence: str, fix: str = "") -> Check:
    """Return the result of a check that could not be made. `fix` says what would make a skipped check possible."""
    return Check(check_id, Level.SKIPPED, evidence, fix)


def is_sound(checks: Iterable[Check]) -> bool:
    """Whether no check found a fault."""
    return all(check.level is not Level.FAULT for check in checks)
