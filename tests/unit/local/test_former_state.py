"""The local database of a clone from before is found again."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from local import former_state
from local.former_state import BINDING, FORMER, file_name, keep_former_database
from local.node import ROOT


def path(state: Path, name: str) -> Path:
    return state / "v3" / "d1" / "miniflare-D1DatabaseObject" / f"{file_name(name)}.sqlite"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state whose database has a row in its write-ahead log alone, as after a SIGKILL."""
    file = path(tmp_path, FORMER)
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "live.sqlite", isolation_level=None)) as live:
        live.execute("PRAGMA journal_mode = WAL")
        live.execute("CREATE TABLE tasks (id)")
        live.execute("INSERT INTO tasks VALUES ('a')")
        for suffix in ("", "-wal"):
            file.with_name(file.name + suffix).write_bytes((tmp_path / f"live.sqlite{suffix}").read_bytes())
    return tmp_path


def rows(file: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT id FROM tasks").fetchall()


def test_it_is_moved_once_with_its_log(state: Path) -> None:
    """The rows are there under the new name; a second call finds nothing to do."""
    assert keep_former_database(ROOT, state)
    assert rows(path(state, BINDING)) == [("a",)]
    assert not path(state, FORMER).exists()
    assert not keep_former_database(ROOT, state)


def test_a_move_that_was_stopped_goes_on(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is moved first, and the database last."""
    monkeypatch.setattr(former_state, "_SUFFIXES", ("-wal",))
    keep_former_database(ROOT, state)
    monkeypatch.undo()
    assert keep_former_database(ROOT, state)
    assert rows(path(state, BINDING)) == [("a",)]


def test_what_is_there_is_not_replaced(state: Path) -> None:
    """A database that `make dev` has made since stays."""
    path(state, BINDING).write_bytes(b"newer")
    assert not keep_former_database(ROOT, state)
    assert path(state, BINDING).read_bytes() == b"newer"


def test_a_project_with_an_id_keeps_it(state: Path, tmp_path: Path) -> None:
    """Whoever names the id finds the database under it."""
    (tmp_path / "wrangler.toml").write_text(f'[[d1_databases]]\nbinding = "DB"\ndatabase_id = "{FORMER}"\n')
    assert not keep_former_database(tmp_path, state)
    assert path(state, FORMER).exists()
