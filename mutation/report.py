"""Reports the results of a run: as a table for people and as JSON, with the reasons for accepted survivors."""

import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from mutation.journal import KILLED, SURVIVED, TIMED_OUT, Outcome
from mutation.mutants import Mutant

REASONS = Path(__file__).parent / "reasons.toml"


@dataclass(frozen=True, slots=True)
class Judged:
    """A mutant, and its known outcomes in the quick and in the deep suite.

    `last` is the outcome in the last suite that tried the mutant.
    """

    mutant: Mutant
    quick: Outcome | None
    deep: Outcome | None

    @property
    def last(self) -> Outcome | None:
        """The outcome in the last suite that tried the mutant, which counts after all suites have run."""
        return self.deep or self.quick


def reasons(path: Path = REASONS) -> dict[str, str]:
    """Read the reasons why some surviving mutants need not be killed, by the mutants' ids."""
    return {name: entry["reason"] for name, entry in tomllib.loads(path.read_text("utf-8")).items()}


def rate(outcomes: Sequence[Outcome | None]) -> float:
    """Return the share of the judged mutants that were killed, from 0 to 1."""
    verdicts = [outcome.verdict for outcome in outcomes if outcome is not None]
    return sum(verdict in {KILLED, TIMED_OUT} for verdict in verdicts) / max(1, len(verdicts))


def facts(found: Sequence[Judged], why: dict[str, str], about: dict[str, Any]) -> dict[str, Any]:
    """Return all figures of the run for JSON, together with `about`, the description of the run."""
    quick, last = [one.quick for one in found], [one.last for one in found]
    return about | {
        "drawn": len(found),
        "judged": sum(outcome is not None for outcome in quick),
        "quick": _counts(quick),
        "all": _counts(last),
        "byOperator": {
            name: _counts([one.last for one in found if one.mutant.operator == name])
            for name in sorted({one.mutant.operator for one in found})
        },
        "byFile": {
            name: _counts([one.last for one in found if one.mutant.path == name])
            for name in sorted({one.mutant.path for one in found})
        },
        "killers": dict(Counter(_check(one.last) for one in found if _is_killed(one.last)).most_common()),
        "survivors": [_record(one, why) for one in found if one.last and one.last.verdict == SURVIVED],
        "killed": [_record(one, why) for one in found if _is_killed(one.last)],
    }


def _is_killed(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.verdict != SURVIVED


def _check(outcome: Outcome | None) -> str:
    """Return the name of the check that killed a mutant: a file of tests, or a part of the simulation."""
    assert outcome is not None
    return outcome.killer.partition("::")[0]


def _counts(outcomes: Sequence[Outcome | None]) -> dict[str, Any]:
    counts = Counter(outcome.verdict for outcome in outcomes if outcome is not None)
    seconds = sum(outcome.seconds for outcome in outcomes if outcome is not None)
    return {
        KILLED: counts[KILLED],
        "timedOut": counts[TIMED_OUT],
        SURVIVED: counts[SURVIVED],
        "killRate": round(rate(outcomes), 4),
        "processorSeconds": round(seconds, 1),
    }


def _record(one: Judged, why: dict[str, str]) -> dict[str, Any]:
    assert one.last is not None
    return {
        "id": one.mutant.id,
        "where": one.mutant.where,
        "scope": one.mutant.scope,
        "mutant": one.mutant.summary,
        "suite": one.last.suite,
        "verdict": one.last.verdict,
        "killer": one.last.killer,
        "message": one.last.message,
        "seconds": one.last.seconds,
        "reason": why.get(one.mutant.id, ""),
    }


def show(console: Console, told: dict[str, Any]) -> None:
    """Print the figures, and each survivor with its reason."""
    table = Table("where", "killed", "timed out", "survived", "kill rate", title="Mutants", title_justify="left")
    for name, counts in told["byFile"].items():
        table.add_row(name, *_cells(counts))
    table.add_section()
    for name, counts in told["byOperator"].items():
        table.add_row(name, *_cells(counts))
    table.add_section()
    table.add_row("all, quick suite", *_cells(told["quick"]))
    table.add_row("all, with the deep suite" if told["deep"] else "all", *_cells(told["all"]))
    console.print(table)
    for one in told["survivors"]:
        console.print(f"survived: {one['id']} {one['where']} {one['scope']}\n  {one['mutant']}", markup=False)
        console.print(f"  {one['reason'] or 'no reason is known: make mutate ARGS="--mutant ' + one['id'] + '"'}")


def _cells(counts: dict[str, Any]) -> list[str]:
    names = (KILLED, "timedOut", SURVIVED)
    return [*(f"{counts[name]:,}" for name in names), f"{100 * counts['killRate']:.1f} %"]


def write(path: Path, told: dict[str, Any]) -> None:
    """Write the figures as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", "utf-8")
