"""Tests which mutants exist, what their names are, and in which order a seed draws them."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest

import src.store.sql.work
from mutation.catalogue import all_mutants, drawn
from mutation.mutants import Mutant, difference
from mutation.run import viable
from mutation.statements import Statements, load

ROOT = Path(__file__).resolve().parents[2]

SQL = """
    from ..d1.statement import statement

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
    """All mutants of this tree, which take a second to find."""
    return all_mutants(ROOT)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project with one module of SQL statements and one module of Python."""
    for name, text in {"src/store/sql/work.py": SQL, "src/processing/run.py": PYTHON}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_text(dedent(text))
    (tmp_path / "src/store/d1").mkdir()
    shutil.copy(ROOT / "src/store/d1/statement.py", tmp_path / "src/store/d1")
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations/1.sql").write_text("CREATE TABLE tasks (id TEXT, fence INTEGER, wake_at INTEGER) STRICT;")
    return tmp_path


@pytest.fixture
def statements(project: Path) -> Iterator[Statements]:
    with closing(Statements(project)) as found:
        yield found


def one(project: Path, before: str, after: str, scope: str = "") -> Mutant:
    """Return the only mutant of a project that replaces one text by another text."""
    (found,) = [
        mutant
        for mutant in all_mutants(project)
        if (mutant.before, mutant.replacement) == (before, after) and scope in mutant.scope
    ]
    return found


def test_a_seed_draws_the_same_mutants_again(project: Path):
    """The same seed gives the same order of mutants, and another seed gives another order."""
    first, again, other = (drawn(all_mutants(project), seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert {mutant.id for mutant in first} == {mutant.id for mutant in other}


def test_a_change_elsewhere_leaves_the_draw_as_it_was(project: Path):
    """New lines and new code in a file change neither the names of the other mutants nor their order."""
    before = [mutant.id for mutant in drawn(all_mutants(project), 1)]
    path = project / "src/processing/run.py"
    path.write_text("# A comment.\n\n\ndef less(count):\n    return count - 1\n\n\n" + path.read_text())
    after = [mutant.id for mutant in drawn(all_mutants(project), 1) if mutant.scope != "less"]
    assert after == before


def test_equal_changes_have_names_of_their_own(project: Path, mutants_of_the_worker: list[Mutant]):
    """All mutants of a project have different ids."""
    for mutants in (all_mutants(project), mutants_of_the_worker):
        assert len({mutant.id for mutant in mutants}) == len(mutants)


def test_the_worker_has_mutants_of_every_kind_in_every_place(mutants_of_the_worker: list[Mutant]):
    """The Worker has mutants of every kind, in all folders that should have mutants, but not in the log."""
    mutants = mutants_of_the_worker
    assert len(mutants) > 1_000
    assert len({mutant.operator for mutant in mutants}) > 25
    paths = {mutant.path for mutant in mutants}
    assert {path.rpartition("/")[0] for path in paths} == {
        "src/store/sql",
        "src/processing",
        "src/processing/batches",
        "src/processing/run",
        "src/processing/sweep",
        "src/objects",
        "src/queue",
    }
    assert "src/processing/log.py" not in paths
    assert any(mutant.is_sql and mutant.path.startswith("src/objects") for mutant in mutants)
    assert not any(mutant.is_sql and "statement.py" in mutant.path for mutant in mutants)


def test_only_some_files_are_drawn_from(project: Path):
    """A draw can be restricted to files by their names or by patterns."""
    mutants = all_mutants(project)
    for only in (["src/processing/run.py"], ["*run.py"]):
        assert {mutant.path for mutant in drawn(mutants, 1, only)} == {"src/processing/run.py"}
    assert drawn(mutants, 1, ["src/processing"]) == []


def test_a_mutant_is_shown_as_a_diff(project: Path):
    """A mutant's diff has the name of the file and the lines around the change."""
    mutant = one(project, "<", "<=")
    text = (project / mutant.path).read_text()
    assert mutant.where == "src/processing/run.py:3"
    assert mutant.summary == "comparison swapped: < → <="
    assert difference(mutant, text).splitlines()[:2] == ["--- a/src/processing/run.py", "+++ b/src/processing/run.py"]
    assert "-    if count < most:\n+    if count <= most:\n" in difference(mutant, text)


def test_a_mutant_of_another_text_is_refused(project: Path):
    """A mutant cannot be put into a file that has changed since the draw."""
    with pytest.raises(AssertionError, match="has changed since"):
        one(project, "<", "<=").put_into("# something else\n" * 9)


def test_a_mutant_of_a_piece_changes_each_statement_that_has_it(project: Path, statements: Statements):
    """A mutant in a piece of SQL changes every statement that contains the piece."""
    found = statements.viable(one(project, "AND", "OR"))
    assert found is not None
    assert {text.split()[0] for text in found.changed} == {"UPDATE", "SELECT"}
    assert len(found.changed) == 2


def test_parameters_that_are_lost_are_kept_without_a_meaning(project: Path, statements: Statements):
    """If a mutant drops a condition, the condition's parameters stay in an expression without effect."""
    found = statements.viable(one(project, "id = :task_key", "1", "OTHER"))
    assert found is not None
    assert found.mutant.replacement == "iif(:task_key IS NULL, 1, 1)"
    assert found.mutant.id == one(project, "id = :task_key", "1", "OTHER").id


def test_parameters_are_not_asked_of_statements_that_had_none(project: Path, statements: Statements):
    """A mutant that drops a piece adds no parameter to statements that did not have the parameter."""
    found = statements.viable(one(project, "id = :task_key", "1", "_MINE"))
    assert found is not None
    assert found.mutant.replacement == "iif(:task_key IS NULL, 1, 1)"
    assert len(found.changed) == 2


def test_what_sqlite_refuses_is_not_drawn(project: Path, statements: Statements):
    """A mutant whose SQL SQLite refuses is left out, because any use of the statement would reveal it."""
    mutant = one(project, "AND", "OR")
    assert statements.viable(mutant.with_replacement("AND AND")) is None
    assert statements.viable(mutant.with_replacement('" + nothing + "')) is None
    assert statements.viable(mutant.with_replacement("AND")) is None


def test_trying_a_statement_leaves_the_interpreter_as_it_was(project: Path):
    """The trial of a statement does not replace modules that tests have imported."""
    before = src.store.sql.work
    texts = load(project, {})
    assert {name.rpartition(".")[2] for name in texts} == {"PROGRESS[0]", "FENCE[0]", "OTHER[0]"}
    import src.store.sql.work as after

    assert after is before


def test_nearly_all_mutants_of_the_store_can_be_tried(mutants_of_the_worker: list[Mutant]):
    """Of 60 mutants of the store, at least 58 can be tried."""
    some = drawn(mutants_of_the_worker, 1, ["src/store/sql/*"])[:60]
    assert len(viable(ROOT, some, 60)) >= 58
    assert len(viable(ROOT, some, 10)) == 10
