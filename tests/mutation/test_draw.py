"""Tests which mutants exist, what their names are, and in which order a seed draws them."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

from mutation.catalogue import all_mutants
from mutation.mutants import Mutant
from mutation.statements import Statements

ROOT = Path(__file__).resolve().parents[2]

SQL = """
    from .d1 import statement

    NOW = "CAST(unixepoch() AS INTEGER)"
    _MINE = "id = :task_key AND fence = :fence"
    # Two statements have the piece.
    PROGRESS = statement(f"UPDATE tasks SET fence = :fence + 1, wake_at = {NOW} WHERE {_MINE}")
    FENCE = statement(f"SELECT fence FROM tasks WHERE {_MINE} ORDER BY id")
    OTHER = statement("SELECT id FROM tasks WHERE id = :task_key")
"""
PYTHON = """
    def more(count, most):
        if count < most:
            return count + 1
        return most
"""


@pytest.fixture(scope="module")
def mutants_of_the_worker() -> list[Mutant]:
    return all_mutants(ROOT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {"src/kernel/store/work_statements.py": SQL, "src/kernel/run/run.py": PYTHON}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(dedent(text))
    shutil.copy(ROOT / "src/kernel/store/d1.py", tmp_path / "src/kernel/store/d1.py")
    shutil.copytree(ROOT / "src/kernel/domain", tmp_path / "src/kernel/domain")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations/1.sql").write_text("CREATE TABLE tasks (id TEXT, fence INTEGER, wake_at INTEGER) STRICT;")
    return tmp_path


@pytest.fixture
def statements(project: Path) -> Iterator[Statements]:
    with closing(Statements(project)) as found:
        yield found


def one(project: Path, before: str, after: str, scope: str = "") -> Mutant:
    (found,) = [
        mutant
        for mutant in all_mutants(project)
        if (mutant.before, mutant.replacement) == (before, after) and scope in mutant.scope
    ]
    return found


def test_the_worker_has_mutants_of_every_kind_in_every_place(mutants_of_the_worker: list[Mutant]):
    mutants = mutants_of_the_worker
    assert len(mutants) > 1_000
    assert len({mutant.operator for mutant in mutants}) > 25
    paths = {mutant.path for mutant in mutants}
    assert {path.rpartition("/")[0] for path in paths} == {
        "src/features/attempts",
        "src/features/batches/store",
        "src/features/batches/work",
        "src/features/bulk",
        "src/features/files",
        "src/features/gaps",
        "src/features/operate",
        "src/features/texts",
        "src/features/webhooks",
        "src/kernel/run",
        "src/kernel/store",
        "src/kernel/work",
        "src/kernel/work/sweep",
        "src/objects",
        "src/queue",
    }
    assert "src/kernel/run/log.py" not in paths
    assert any(mutant.is_sql and mutant.path.startswith("src/objects") for mutant in mutants)
    assert not any(mutant.is_sql and "d1.py" in mutant.path for mutant in mutants)


def test_a_mutant_of_a_piece_changes_each_statement_that_has_it(project: Path, statements: Statements):
    found = statements.viable(one(project, "AND", "OR"))
    assert found is not None
    assert {text.split()[0] for text in found.changed} == {"UPDATE", "SELECT"}
    assert len(found.changed) == 2


def test_parameters_that_are_lost_are_kept_without_a_meaning(project: Path, statements: Statements):
    found = statements.viable(one(project, "id = :task_key", "1", "OTHER"))
    assert found is not None
    assert found.mutant.replacement == "iif(:task_key IS NULL, 1, 1)"
    assert found.mutant.id == one(project, "id = :task_key", "1", "OTHER").id
