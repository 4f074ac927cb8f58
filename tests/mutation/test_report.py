"""Tests the report of a run: its figures, the survivors, and their reasons."""

import json
from pathlib import Path

from mutation import report
from mutation.journal import KILLED, SURVIVED, TIMED_OUT, Outcome
from mutation.mutants import Mutant
from mutation.report import Judged
from mutation.source import Span


def judged(number: int, quick: str, deep: str | None = None, path: str = "src/a.py") -> Judged:
    name = f"{number:08}"
    mutant = Mutant(name, path, Span(0, 1), "<=", "comparison swapped", "f", number, "<")
    outcomes = [
        None if verdict is None else Outcome(name, suite, "key", verdict, "tests/a.py::test_b", "says", 1.5)
        for suite, verdict in (("quick", quick), ("deep", deep))
    ]
    return Judged(mutant, *outcomes)


FOUND = [
    judged(1, KILLED),
    judged(2, TIMED_OUT),
    judged(3, SURVIVED, KILLED),
    judged(4, SURVIVED, SURVIVED, "src/b.py"),
]


def test_the_figures():
    """The report counts the mutants that the quick suite killed, and those that all suites together killed."""
    told = json.loads(json.dumps(report.facts(FOUND, {"00000004": "nobody can tell"}, {"seed": 7, "deep": True})))
    assert (told["seed"], told["drawn"], told["judged"]) == (7, 4, 4)
    assert (told["quick"]["killRate"], told["all"]["killRate"]) == (0.5, 0.75)
    assert (told["all"][KILLED], told["all"]["timedOut"], told["all"][SURVIVED]) == (2, 1, 1)
    assert told["byFile"]["src/b.py"]["killRate"] == 0
    assert told["killers"] == {"tests/a.py": 3}
    (survivor,) = told["survivors"]
    assert (survivor["id"], survivor["where"], survivor["reason"]) == ("00000004", "src/b.py:4", "nobody can tell")
    assert len(told["killed"]) == 3


def test_the_reasons_are_reasons(tmp_path: Path):
    """Each entry of mutation/reasons.toml has a reason of more than a few words."""
    assert all(len(reason) > 20 for reason in report.reasons().values())
    path = tmp_path / "reasons.toml"
    path.write_text('["1234abcd"]\nmutant = "a"\nreason = "b"\n')
    assert report.reasons(path) == {"1234abcd": "b"}
