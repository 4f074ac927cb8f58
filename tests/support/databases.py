"""Reads copies of the databases of a running local runtime.

Copies are needed because a second process that opens a database's file takes part in SQLite's locking. While an object
clears its storage, workerd deletes and rebuilds the file. While the file is rebuilt, a reader of the file itself is
refused ("attempt to write a readonly database"), or prevents the exclusive lock that workerd needs.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.dev_server import eventually

type _Files = dict[str, bytes]


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a copy of a database and its write-ahead log, taken at one moment."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        files = eventually(lambda: _still(path))
        assert files is not None, f"somebody goes on writing to {path.name}"
        for suffix, content in files.items():
            copy.with_name(copy.name + suffix).write_bytes(content)
        with closing(sqlite3.connect(copy)) as connection:
            yield connection


def d1_file(state: Path) -> Path:
    (found,) = [path for path in state.glob("v3/d1/**/*.sqlite") if path.name != "metadata.sqlite"]
    return found


def tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _still(path: Path) -> _Files | None:
    """Return a database's files, None if they changed while read, or are about to."""
    try:
        first, second = _files(path), _files(path)
    except FileNotFoundError:
        return None
    return first if first == second and "-journal" not in first else None


def _files(path: Path) -> _Files:
    log, journal = (path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))
    return {
        "": path.read_bytes(),
        **({"-wal": log.read_bytes()} if log.exists() else {}),
        **({"-journal": b""} if journal.exists() else {}),
    }
