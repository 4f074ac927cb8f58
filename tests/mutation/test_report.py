"""Tests the report of a run: its figures, the survivors, and their reasons."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from mutation import __main__ as command
from mutation import report
from mutation.catalogue import all_mutants
from mutation.journal import KILLED, SURVIVED, TIMED_OUT, Outcome
from mutation.mutants import Mutant
from mutation.report import Judged
from mutation.source import Span


@pytest.fixture(scope="module")
def once() -> Iterator[None]:
    """Let the command find the mutants of the tree, which does not change, only once: to find them takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "all_mutants", functools.cache(all_mutants))
        yield


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


def test_the_table(capsys: pytest.CaptureFixture[str]):
    """The table has a line for each file and each kind, and for each survivor a reason or a command that shows it."""
    report.show(Console(width=120), report.facts(FOUND, {}, {"deep": True}))
    told = capsys.readouterr().out
    assert "all, quick suite" in told
    assert "75.0 %" in told
    assert "--mutant 00000004" in told
    report.show(Console(width=120), report.facts(FOUND, {"00000004": "nobody can tell"}, {"deep": True}))
    assert "nobody can tell" in capsys.readouterr().out


def test_nothing_judged_is_no_rate_of_anything():
    """The kill rate of a run that has judged no mutant is 0."""
    assert report.rate([]) == 0
    assert report.rate([None]) == 0


def test_the_reasons_are_reasons(tmp_path: Path):
    """Each entry of mutation/reasons.toml has a reason of more than a few words."""
    assert all(len(reason) > 20 for reason in report.reasons().values())
    path = tmp_path / "reasons.toml"
    path.write_text('["1234abcd"]\nmutant = "a"\nreason = "b"\n')
    assert report.reasons(path) == {"1234abcd": "b"}


@pytest.mark.usefixtures("once")
def test_the_command_lists_what_it_would_judge(capsys: pytest.CaptureFixture[str]):
    """With `--list`, `python -m mutation` lists the mutants that a seed draws, the same ones each time."""
    arguments = ["--list", "--mutants", "5", "--seed", "3", "--only", "src/processing/run/ledger.py"]
    assert command.main(arguments) == 0
    first = capsys.readouterr().out
    assert first.count("src/processing/run/ledger.py:") == 5
    assert command.main(arguments) == 0
    assert capsys.readouterr().out == first
    assert command.main(["--list", "--only", "src/nothing.py"]) == 2


@pytest.mark.usefixtures("once")
def test_the_command_shows_a_mutant(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """With a mutant's id, `python -m mutation` prints the diff, and leaves a copy of the tree with the mutant."""
    monkeypatch.setattr(command, "STATE", tmp_path)
    command.main(["--list", "--mutants", "1", "--only", "src/processing/run/ledger.py"])
    name = capsys.readouterr().out.splitlines()[1].split()[0]
    assert command.main(["--mutant", name]) == 0
    told = capsys.readouterr().out
    assert "--- a/src/processing/run/ledger.py" in told
    copy = tmp_path / f"mutant-{name}" / "src/processing/run/ledger.py"
    assert copy.read_text() != (command.ROOT / "src/processing/run/ledger.py").read_text()
    assert command.main(["--mutant", "00000000"]) == 2


def test_the_command_explains_itself(capsys: pytest.CaptureFixture[str]):
    """The help of `python -m mutation` lists each option and examples; a number of mutants below one is refused."""
    with pytest.raises(SystemExit):
        command.main(["--help"])
    told = capsys.readouterr().out
    assert all(option in told for option in ("--mutants", "--seed", "--only", "--workers", "--deep", "--mutant"))
    assert "examples:" in told
    with pytest.raises(SystemExit):
        command.main(["--mutants", "0"])
