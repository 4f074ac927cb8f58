"""How `make dev` clears the local D1's files of the contents of deleted rows."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from local.residue import clear_residue

ERASED = b"erased text"
KEPT = b"kept text"


pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "v3" / "d1" / "miniflare-D1DatabaseObject" / "1.sqlite"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def runtime(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "CREATE TABLE texts (id TEXT NOT NULL PRIMARY KEY, input TEXT NOT NULL) STRICT, WITHOUT ROWID"
        )
        for number in range(500):
            connection.execute("INSERT INTO texts VALUES (?, ?)", (f"erased-{number}", ERASED.decode() * 100))
        connection.execute("INSERT INTO texts VALUES ('kept', ?)", (KEPT.decode(),))
        connection.execute("DELETE FROM texts WHERE id <> 'kept'")
        yield connection


def content(database: Path) -> bytes:
    return b"".join(path.read_bytes() for path in database.parent.iterdir())


def test_what_was_deleted_is_gone_and_what_was_not_is_there(
    database: Path, runtime: sqlite3.Connection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert ERASED in content(database)
    clear_residue(tmp_path)
    assert ERASED not in content(database)
    assert KEPT in content(database)
    assert runtime.execute("SELECT id FROM texts").fetchall() == [("kept",)]
    assert capsys.readouterr().err == ""


def test_a_database_that_is_as_it_was_left_is_not_rewritten(
    database: Path, runtime: sqlite3.Connection, tmp_path: Path
):
    clear_residue(tmp_path)
    before = database.stat().st_mtime_ns
    clear_residue(tmp_path)
    assert database.stat().st_mtime_ns == before
    runtime.execute("INSERT INTO texts VALUES ('new', '')")
    clear_residue(tmp_path)
    assert database.stat().st_mtime_ns > before


@pytest.mark.parametrize("lock", ["BEGIN IMMEDIATE", "BEGIN; SELECT * FROM texts"])
def test_a_database_in_use_is_left_alone_with_a_warning(
    lock: str,
    database: Path,
    runtime: sqlite3.Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr("local.residue._LOCK_SECONDS", 0.01)
    for statement in lock.split("; "):
        runtime.execute(statement).fetchall()
    clear_residue(tmp_path)
    assert f"erased text may stay readable in {database}" in capsys.readouterr().err
    runtime.execute("COMMIT")
    assert runtime.execute("SELECT id FROM texts").fetchall() == [("kept",)]
