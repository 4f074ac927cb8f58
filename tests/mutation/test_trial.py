"""Tests how mutants are judged: which checks run, in which order, for how long, and what is reported."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from mutation import trial
from mutation.baseline import Baseline, Known, measure
from mutation.catalogue import all_mutants
from mutation.checks import NOT_RUN, Check, all_checks
from mutation.journal import KILLED, Journal, Outcome
from mutation.mistakes import Mistake, is_noticed, without_mistakes
from mutation.mistakes import judge as judge_mistakes
from mutation.mutants import Mutant
from mutation.run import Judge, workspaces
from mutation.source import Span
from mutation.statements import Found
from mutation.workspace import Workspace, digest

ROOT = Path(__file__).resolve().parents[2]

WORKER = """
    import asyncio

    START = 1

    def more(count, most):
        while count < most:
            count += 1
        return count

    def untested():
        return 1
"""
TESTS = """
    from src.kernel.run.run import more

    def test_more():
        assert more(1, 3) == 3

    def test_other():
        assert more(4, 3) == 4
"""
# These files stand in for the Worker's code that the plugin of the mutation tests needs.
SURROUNDINGS = {
    "src/kernel/store/d1.py": "class Statement:\n    def bind(self, **values): ...\n",
    "simulator/campaign/ablations/__init__.py": "",
    "simulator/campaign/ablations/substitutes.py": "def swapped(name, old, new): ...\n",
    "simulator/campaign/__init__.py": "",
    "tests/unit/test_elsewhere.py": "def test_nothing(): pass\n",
    "pyproject.toml": dedent("""
        [tool.pytest.ini_options]
        addopts = "-p no:schemathesis -p no:anyio"  # which take most of the time of a start
        pythonpath = ["."]
        markers = ["runtime"]
    """),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    files = SURROUNDINGS | {"src/kernel/run/run.py": WORKER, "tests/unit/test_run.py": TESTS}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    (root / "mutation").symlink_to(ROOT / "mutation")
    return root


@pytest.fixture(scope="module")
def copies(project: Path) -> Iterator[list[Workspace]]:
    with workspaces(project, 2) as found:
        yield found


@pytest.fixture(scope="module")
def baseline(project: Path, copies: list[Workspace], tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    checks = [Check(f"tests/unit/test_{name}.py", is_quick=True) for name in ("run", "elsewhere")]
    known = Known(tmp_path_factory.mktemp("known") / "checks.json")
    return measure(checks, copies, digest(project), known, lambda check: None)


def one(project: Path, before: str, after: str) -> Found:
    (mutant,) = [one for one in all_mutants(project) if (one.before, one.replacement) == (before, after)]
    return Found(mutant, frozenset())


@pytest.fixture
def judge(baseline: Baseline, copies: list[Workspace], tmp_path: Path) -> Judge:
    return Judge(baseline, Journal(tmp_path / "outcomes.jsonl"), copies)


def judged(judge: Judge, found: Found) -> Outcome:
    told: list[Outcome] = []
    judge.judge([found], "quick", told.append)
    (outcome,) = told
    return outcome


def test_a_mutant_that_a_test_notices_is_killed(project: Path, judge: Judge):
    outcome = judged(judge, one(project, "<", "<="))
    assert (outcome.verdict, outcome.killer) == (KILLED, "tests/unit/test_run.py::test_more")
    assert "assert 4 == 3" in outcome.message
    for copy in judge.copies:
        assert (copy.path / "src/kernel/run/run.py").read_text() == dedent(WORKER)


def mutant(scope: str = "A.f") -> Mutant:
    return Mutant("1234abcd", "src/a.py", Span(0, 1), "x", "SQL: comparison swapped", scope, 1, "y")


def test_the_checks_are_files_and_parts():
    quick, deep = all_checks(ROOT, deep=False), all_checks(ROOT, deep=True)
    names = {check.name for check in deep}
    assert {check for check in quick if not check.is_part} < {check for check in deep if not check.is_part}
    assert {
        "tests/unit/kernel/run/test_ledger.py",
        "tests/property/test_store_model.py",
        "tests/api/test_tasks.py",
    } <= names
    assert not names & NOT_RUN.keys()
    assert [name for name in NOT_RUN if not (ROOT / name).is_file()] == []
    assert not any(name.startswith(("tests/runtime", "tests/api_fuzz")) for name in names)


@pytest.fixture(scope="module")
def worker() -> Iterator[Workspace]:
    with workspaces(ROOT, 1) as (copy,):
        yield copy


def test_the_simulation_notices_what_is_broken_and_not_what_is_written(worker: Workspace):
    (fenceless,) = [
        mutant
        for mutant in all_mutants(ROOT)
        if mutant.path == "src/kernel/store/fragments.py"
        and mutant.scope == "UNDER_CLAIM"
        and mutant.before == "fence = :fence"
    ]
    with worker.holding(fenceless.with_replacement(":fence = :fence OR :fence = :fence")):
        verdict = trial.run(worker.path, [Check("simulate crafted", is_quick=True)], 120, quick=True)
    assert not verdict.passed
    assert "InvariantBroken" in verdict.message


def known_mistake(name: str, old: str, new: str, test: str = "test_more") -> Mistake:
    return Mistake(
        name=name,
        path="src/kernel/run/run.py",
        old=old,
        new=new,
        promise="It counts.",
        tests=[f"tests/unit/test_run.py::{test}"],
    )


def test_a_known_mistake_is_noticed_by_a_test_that_fails(project: Path, copies: list[Workspace]):
    mistakes = [
        known_mistake("noticed", "count < most", "count <= most"),
        known_mistake("not noticed", "START = 1", "START = 2"),
        known_mistake("of another test", "count < most", "count <= most", "test_other"),
        known_mistake("no Python", "def more", "def ("),
    ]
    judged = list(judge_mistakes(mistakes, project, copies))
    assert [(one.name, is_noticed(verdict)) for one, verdict in judged] == [
        ("noticed", True),
        ("not noticed", False),
        ("of another test", False),
        ("no Python", False),
    ]
    assert without_mistakes(mistakes, copies[0]).passed
    assert not without_mistakes([known_mistake("of no test", "START", "END", "test_none")], copies[0]).passed


@pytest.mark.parametrize("old", ["count", "nowhere"])
def test_a_known_mistake_has_one_place(project: Path, old: str):
    with pytest.raises(ValueError, match=r"astray: src/kernel/run/run.py has the old text \d times"):
        known_mistake("astray", old, "x").mutant(project)
