"""Tests how mutants are judged: which checks run, in which order, for how long, and what is reported."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from mutation import trial
from mutation.catalogue import all_mutants
from mutation.checks import Check
from mutation.mistakes import Mistake, is_noticed, without_mistakes
from mutation.mistakes import judge as judge_mistakes
from mutation.run import workspaces
from mutation.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]

WORKER = """
    import asyncio

    START = 1

    def more(count, most):
        while count < most:
            count += 1
        return count

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
