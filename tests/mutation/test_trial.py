"""Tests how mutants are judged: which checks run, in which order, for how long, and what is reported."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from mutation import trial
from mutation.baseline import Baseline, Known, measure
from mutation.catalogue import all_mutants
from mutation.checks import NOT_RUN, Check, Reach, all_checks
from mutation.child import statement_digest
from mutation.journal import KILLED, SURVIVED, TIMED_OUT, Journal, Outcome
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


def test_a_mutant_that_nobody_notices_survives(project: Path, judge: Judge):
    """A mutant of a constant that no test checks survives, although tests import its module."""
    assert judged(judge, constant(project)).verdict == SURVIVED


def constant(project: Path) -> Found:
    (mutant,) = [one for one in all_mutants(project) if one.scope == "START" and one.replacement == "2"]
    return Found(mutant, frozenset())


def test_a_mutant_that_never_ends_is_killed_by_the_time(project: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trial, "SLACK_SECONDS", 0.5)
    (drop,) = [one for one in all_mutants(project) if one.before == "count += 1"]
    assert judged(judge, Found(drop, frozenset())).verdict == TIMED_OUT


def test_what_is_known_is_not_tried_again(project: Path, judge: Judge, monkeypatch: pytest.MonkeyPatch):
    """A known outcome is used again, also after an incomplete line, but not for another replacement of the mutant."""
    found = one(project, "<", "<=")
    first = judged(judge, found)
    path = judge.journal._path
    path.write_text(path.read_text() + '{"id": "1234')
    monkeypatch.setattr(trial, "run", None)
    again = Judge(judge.baseline, Journal(path), judge.copies)
    assert judged(again, found) == first
    assert again.known(Found(found.mutant.with_replacement(">"), frozenset()), "quick") is None
    again.journal.forget()
    assert again.known(found, "quick") is None


def test_only_checks_that_reach_a_function_judge_its_mutants(project: Path, baseline: Baseline):
    assert baseline.failing == {}
    (check,) = [check for check, _ in baseline.reaching(one(project, "<", "<=").mutant, frozenset())]
    assert check.name == "tests/unit/test_run.py"
    (check,) = [check for check, _ in baseline.reaching(constant(project).mutant, frozenset())]
    assert check.name == "tests/unit/test_run.py"


def mutant(scope: str = "A.f") -> Mutant:
    return Mutant("1234abcd", "src/a.py", Span(0, 1), "x", "SQL: comparison swapped", scope, 1, "y")


def test_statements_are_judged_by_checks_that_use_them():
    reaches = {
        Check("one", is_quick=True): Reach(1, frozenset(), frozenset(), frozenset({statement_digest("SELECT 1")})),
        Check("two", is_quick=True): Reach(1, frozenset(), frozenset(), frozenset({statement_digest("SELECT 2")})),
    }
    found = Baseline(reaches, {}).reaching(mutant(), frozenset({"SELECT 2", "SELECT 3"}))
    assert [check.name for check, _ in found] == ["two"]


def test_a_check_that_fails_without_a_mutant_judges_nobody():
    failing = Reach(1, frozenset({"src/a.py::A.f"}), frozenset(), frozenset(), "test: message")
    passing = Reach(1, frozenset({"src/a.py::A.f"}), frozenset(), frozenset())
    baseline = Baseline({Check("one", is_quick=True): failing, Check("two", is_quick=True): passing}, {})
    assert [check.name for check, _ in baseline.reaching(mutant(), frozenset())] == ["two"]
    assert {check.name: failure for check, failure in baseline.failing.items()} == {"one": "test: message"}


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


def test_checks_are_measured_once(project: Path, copies: list[Workspace], tmp_path: Path):
    """The measured results of a check are used again until the check's file or the code changes."""
    check = Check("tests/unit/test_elsewhere.py", is_quick=True)
    key = check.key(project, "tree")
    reach = Reach(1.5, frozenset({"a"}), frozenset({"b"}), frozenset({"c"}))
    Known(tmp_path / "checks.json").add(key, reach)
    baseline = measure([check], copies, "tree", Known(tmp_path / "checks.json"), lambda check: None)
    assert baseline.reaches == {check: reach}
    assert check.key(project, "other tree") != key
    other = tmp_path / check.name
    other.parent.mkdir(parents=True)
    other.write_text("def test_something(): pass")
    assert check.key(tmp_path, "tree") != key


@pytest.fixture(scope="module")
def worker() -> Iterator[Workspace]:
    with workspaces(ROOT, 1) as (copy,):
        yield copy


@pytest.mark.campaign
def test_the_tree_without_a_mutant_passes(worker: Workspace):
    """In a copy without a mutant, tests and parts of the simulation pass."""
    verdict = trial.run(
        worker.path, [Check("tests/unit/kernel/run/test_ledger.py", is_quick=True)], 60, quick=True, trace=True
    )
    assert verdict.passed, verdict
    assert "src/kernel/run/ledger.py::Ledger.failed" in verdict.facts["functions"]
    assert "src/kernel/run/run.py::Run.work" not in verdict.facts["functions"]
    verdict = trial.run(worker.path, [Check("simulate crafted", is_quick=True)], 120, quick=True, trace=True)
    assert verdict.passed, verdict
    assert "src/kernel/run/run.py::Run.work" in verdict.facts["functions"]
    assert len(verdict.facts["statements"]) > 20


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
    """A mistake whose old text occurs twice, or not at all, is refused by name."""
    with pytest.raises(ValueError, match=r"astray: src/kernel/run/run.py has the old text \d times"):
        known_mistake("astray", old, "x").mutant(project)
