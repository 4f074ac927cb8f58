"""What an examination found, and its report as Markdown and as JSON, without secrets, texts or names."""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from ..shapes import Json

NAME: Final = "onceover-verify"
_HEAD: Final = ("check", "verdict", "it did", "it saw", "that means", "seconds")


class Grade(StrEnum):
    """The result of a check. A check that could not run is no success."""

    SOUND = "sound"
    FAULT = "fault"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check did, what it saw, and what that means."""

    check: str
    verdict: Grade
    did: str
    saw: str
    means: str
    seconds: float = 0.0


def as_json(facts: Json, findings: list[Finding]) -> str:
    """Write the report as JSON."""
    checks = [{**asdict(one), "seconds": round(one.seconds, 1)} for one in findings]
    return json.dumps({"report": NAME, **facts, "checks": checks}, ensure_ascii=False, indent=2) + "\n"


def as_markdown(facts: Json, findings: list[Finding]) -> str:
    """Write the report as Markdown."""
    counts = (f"{sum(one.verdict is verdict for one in findings)} {verdict}" for verdict in Grade)
    lines = [f"# {NAME}", "", f"{', '.join(counts)}.", "", *(f"- {name}: {value}" for name, value in facts.items()), ""]
    cells = [(*list(asdict(one).values())[:5], f"{one.seconds:.1f}") for one in findings]
    rows = [_HEAD, ("---",) * 6, *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in cells)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def write(path: Path, facts: Json, findings: list[Finding]) -> None:
    """Write both forms of the report beside each other: FILE.md and FILE.json."""
    path.with_suffix(".md").write_text(as_markdown(facts, findings), encoding="utf-8")
    path.with_suffix(".json").write_text(as_json(facts, findings), encoding="utf-8")
